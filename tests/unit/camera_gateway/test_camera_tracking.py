"""Tracks of invented faces: where they go is exact, and each has a look of its own."""

import numpy as np
import pytest
from numpy.typing import NDArray

from camera_gateway.tracking import Look, Tracker
from shared.faces.detect import Box, Detection, Landmarks

_POINT = (0.0, 0.0)
_LANDMARKS = Landmarks(_POINT, _POINT, _POINT, _POINT, _POINT)
WIDTH = 40.0


def face(seed: int) -> NDArray[np.uint8]:
    """A crop of coarse patches, unlike that of any other seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (7, 6, 3), np.uint8)
    return np.kron(patches, np.ones((16, 16, 1), np.uint8))


def look(seed: int, x: float, y: float = 100, width: float = WIDTH) -> Look:
    box = Box(x, y, width, width * 1.3)
    return Look(Detection(box, _LANDMARKS, 1.0), face(seed), 0.8)


def numbers(tracker: Tracker, looks: list[Look], at: float) -> list[int]:
    tracker.end_lost(at)
    return [track.number for track in tracker.update(looks, at)]


def test_who_walks_past_by_more_than_a_face_each_look_stays_one_track() -> None:
    tracker = Tracker(lost_s=2)
    assert {n for k in range(12) for n in numbers(tracker, [look(1, 50 * k)], k / 8)} == {1}


def test_who_crosses_keeps_the_own_track() -> None:
    tracker = Tracker(lost_s=2)
    for k in range(21):
        right, left = look(1, 20.0 * k), look(2, 400 - 20.0 * k)
        # The order in which a detector names faces changes.
        given = [right, left] if k % 2 else [left, right]
        found = numbers(tracker, given, k / 10)
        assert found == ([2, 1] if k % 2 else [1, 2])


def test_who_is_hidden_for_a_moment_comes_back_as_the_same() -> None:
    tracker = Tracker(lost_s=2)
    seen = [k for k in range(30) if not 8 <= k < 20]
    found = [numbers(tracker, [look(1, 12.0 * k)], k / 10) for k in seen]
    assert found == [[1]] * len(seen)


def test_who_is_away_for_longer_is_a_new_visit() -> None:
    tracker = Tracker(lost_s=2)
    assert numbers(tracker, [look(1, 0)], 0.0) == [1]
    assert [track.number for track in tracker.end_lost(2.1)] == [1]
    assert numbers(tracker, [look(1, 0)], 2.1) == [2]


def test_somebody_else_in_the_same_place_is_a_new_track() -> None:
    tracker = Tracker(lost_s=2)
    assert numbers(tracker, [look(1, 100)], 0.0) == [1]
    assert numbers(tracker, [look(2, 102)], 1.0) == [2]


def test_a_face_much_larger_is_somebody_else() -> None:
    tracker = Tracker(lost_s=2)
    assert numbers(tracker, [look(1, 100)], 0.0) == [1]
    assert numbers(tracker, [look(1, 80, 74, width=2 * WIDTH)], 0.1) == [2]


@pytest.mark.parametrize(("widths", "after"), [(1.5, 0.05), (10, 0.5), (6, 1.9)])
def test_a_face_far_away_is_somebody_else_however_alike(widths: float, after: float) -> None:
    tracker = Tracker(lost_s=2)
    assert numbers(tracker, [look(1, 0)], 0.0) == [1]
    assert numbers(tracker, [look(1, widths * WIDTH)], after) == [2]


def test_two_faces_never_share_a_track() -> None:
    tracker = Tracker(lost_s=2)
    assert numbers(tracker, [look(1, 100)], 0.0) == [1]
    assert sorted(numbers(tracker, [look(1, 104), look(1, 96)], 0.1)) == [1, 2]


@pytest.mark.parametrize("at", [5.0, 4.0])
def test_time_that_stands_still_or_goes_back_breaks_nothing(at: float) -> None:
    tracker = Tracker(lost_s=2)
    assert numbers(tracker, [look(1, 100)], 5.0) == [1]
    assert numbers(tracker, [look(1, 101)], at) == [1]
    assert numbers(tracker, [look(1, 102)], 5.1) == [1]


def test_hundreds_of_faces_are_so_many_tracks() -> None:
    tracker = Tracker(lost_s=2)
    crowd = [look(k, 60.0 * (k % 20), 80.0 * (k // 20)) for k in range(64)]
    assert numbers(tracker, crowd, 0.0) == list(range(1, 65))
    assert numbers(tracker, crowd, 0.1) == list(range(1, 65))
