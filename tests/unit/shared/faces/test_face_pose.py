"""Yaw from landmarks, and faces turned in training."""

import math

import numpy as np
import pytest
import torch

from shared.faces.pose import yaw_degrees
from shared.training.augment import turn
from shared.training.faces import by_pose

FRONTAL = np.array([[30.3, 51.7], [65.5, 51.5], [48.0, 71.7], [33.5, 92.4], [62.7, 92.2]])


def _head(yaw: float, roll: float = 0.0) -> np.ndarray:
    """Landmarks of a head of eyes 35 pixels apart, whose nose stands 21 before them."""
    points = np.array([[-17.5, 0, 0], [17.5, 0, 0], [0, 20, 21], [-14, 40, 4], [14, 40, 4]])
    angle = math.radians(yaw)
    x = points[:, 0] * math.cos(angle) + points[:, 2] * math.sin(angle)
    turned = np.stack([x, points[:, 1]], 1)
    tilt = math.radians(roll)
    rotation = [[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]]
    return turned @ np.array(rotation).T + 50


@pytest.mark.parametrize("yaw", [-55.0, -30.0, 0.0, 15.0, 40.0])
@pytest.mark.parametrize("roll", [0.0, 25.0])
def test_yaw_is_read_off_the_landmarks_however_the_head_is_tilted(yaw: float, roll: float) -> None:
    measured = yaw_degrees(_head(yaw, roll)[None])

    assert measured[0] == pytest.approx(yaw, abs=1.0)


def test_yaw_of_the_template_is_nearly_none() -> None:
    assert abs(yaw_degrees(FRONTAL[None])[0]) < 1


def test_yaw_of_eyes_in_one_point_is_a_number() -> None:
    assert np.isfinite(yaw_degrees(np.zeros((1, 5, 2)))).all()


def test_a_turn_moves_the_nose_against_the_eyes_and_keeps_heights() -> None:
    faces = torch.full((2, 1, 112, 112), -1.0)
    rows, columns = [60, 60, 80], [38, 74, 56]  # eyes and nose, seen as bright dots
    for row, column in zip(rows, columns, strict=True):
        faces[:, 0, row - 1 : row + 2, column - 1 : column + 2] = 1.0

    turned = turn(faces, torch.tensor([0.0, math.radians(30)]))

    torch.testing.assert_close(turned[0], faces[0], atol=0.2, rtol=0)
    left, right = _dots(turned[1, 0, 55:65])
    (nose,) = _dots(turned[1, 0, 75:85])
    assert right - left < 35  # foreshortened
    assert nose - (left + right) / 2 > 1  # to the right
    assert turned[1, 0, 30].max() == -1


def _dots(band: torch.Tensor) -> list[float]:
    """Centres, in columns, of what is bright in some rows."""
    bright = (band.max(0).values > 0).nonzero().flatten().tolist()
    groups: list[list[int]] = []
    for column in bright:
        if groups and column - groups[-1][-1] == 1:
            groups[-1].append(column)
        else:
            groups.append([column])
    return [sum(group) / len(group) for group in groups]


def test_turned_heads_are_shown_more_often() -> None:
    yaw = np.array([0, -25, 50, 10], np.float32)

    rows = by_pose(np.array([0, 1, 2]), yaw)

    assert np.bincount(rows).tolist() == [1, 2, 5]
