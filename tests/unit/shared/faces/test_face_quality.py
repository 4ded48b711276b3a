"""Quality: lower for blur, for small faces and for faces turned aside; roll is no fault."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.faces.align import align
from shared.faces.detect import Landmarks
from shared.faces.mtcnn import MtcnnDetector
from shared.faces.picture import PictureLimits, decode_picture
from shared.faces.quality import quality
from shared.faces.refine import ONET_TEMPLATE

PORTRAIT = Path(__file__).parents[3] / "data" / "eileen_collins_portrait.jpg"


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return decode_picture(PORTRAIT.read_bytes(), PictureLimits())


@pytest.fixture(scope="module")
def landmarks(picture: np.ndarray) -> Landmarks:
    (found,) = MtcnnDetector().detect(picture)
    return found.landmarks


@pytest.fixture(scope="module")
def crop(picture: np.ndarray, landmarks: Landmarks) -> np.ndarray:
    return align(picture, landmarks, template=ONET_TEMPLATE)


def landmarks_of(points: np.ndarray) -> Landmarks:
    return Landmarks(*((float(x), float(y)) for x, y in points))


def strictly_falling(values: list[float]) -> bool:
    return all(0 <= after < before <= 1 for before, after in pairwise(values))


def test_a_good_portrait_scores_high(crop: np.ndarray, landmarks: Landmarks) -> None:
    assert 0.85 < quality(crop, landmarks) <= 1


@pytest.mark.parametrize("known", [True, False])
def test_blur_lowers_it(crop: np.ndarray, landmarks: Landmarks, *, known: bool) -> None:
    blurred = [crop] + [cv2.GaussianBlur(crop, (0, 0), sigma) for sigma in (0.7, 1.2, 2, 4)]
    assert strictly_falling([quality(one, landmarks if known else None) for one in blurred])


def test_a_smaller_face_lowers_it(picture: np.ndarray) -> None:
    detector = MtcnnDetector(min_face_size=12)
    scores = []
    for size in (512, 300, 200, 140):
        small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        landmarks = detector.detect(small)[0].landmarks
        scores.append(quality(align(small, landmarks, template=ONET_TEMPLATE), landmarks))
    assert strictly_falling(scores)


def test_distance_of_the_eyes_alone_lowers_it(crop: np.ndarray, landmarks: Landmarks) -> None:
    points = landmarks.as_array()
    shrunk = [landmarks_of(points * factor) for factor in (0.8, 0.5, 0.25, 0.1)]
    assert strictly_falling([quality(crop, one) for one in shrunk])


@pytest.mark.parametrize("side", [-1, 1])
def test_turning_aside_lowers_it(crop: np.ndarray, landmarks: Landmarks, side: int) -> None:
    points = landmarks.as_array()
    points[2] = points[:2].mean(axis=0) + np.array([0, 25])
    scores = []
    for shift in (0, 5, 10, 20):
        turned = points.copy()
        turned[2, 0] += side * shift
        scores.append(quality(crop, landmarks_of(turned)))
    assert strictly_falling(scores)


def test_roll_and_place_do_not_count(crop: np.ndarray, landmarks: Landmarks) -> None:
    points = landmarks.as_array().astype(np.float64)
    angle = np.radians(37)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = landmarks_of(points @ turn.T + [300, -20])
    assert quality(crop, turned) == pytest.approx(quality(crop, landmarks), abs=1e-4)


def test_without_landmarks_sharpness_alone_counts(crop: np.ndarray) -> None:
    """A checkerboard is sharp and a wall is not."""
    wall = np.full_like(crop, 128)
    checkerboard = np.indices((112, 96)).sum(axis=0) % 2 * 255
    checkerboard = np.repeat(checkerboard[..., None], 3, axis=2).astype(np.uint8)
    assert quality(wall, None) == 0
    assert quality(checkerboard, None) > 0.99


def test_eyes_in_one_place_score_nothing(crop: np.ndarray) -> None:
    assert quality(crop, Landmarks((5, 5), (5, 5), (6, 7), (5, 9), (7, 9))) == 0
