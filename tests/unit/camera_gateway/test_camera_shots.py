from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from camera_gateway.shots import Rules, Shot, Visit

RULES = Rules(
    min_looks=2, min_quality=0.2, good_quality=0.75, better_by=0.2, settle_s=1.0, again_s=60.0
)
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def sent(*looks: tuple[float, float], over_at: float | None = None) -> list[tuple[float, float]]:
    """What a visit with looks (time, quality) sends, as (time, quality of the face)."""
    visit, found = Visit(RULES), []
    for at, quality in looks:
        taken = NOON + timedelta(seconds=at)
        visit.add(Shot("door", 1, np.zeros((112, 96, 3), np.uint8), quality, at, taken))
        if (shot := visit.due(at)) is not None:
            assert shot.taken == NOON + timedelta(seconds=shot.at)
            found.append((at, shot.quality))
    if over_at is not None and (shot := visit.due(over_at, over=True)) is not None:
        found.append((over_at, shot.quality))
    return found


def test_a_good_face_goes_at_once_and_alone() -> None:
    assert sent((0, 0.8), (0.1, 0.8), (0.2, 0.82), (3, 0.85), over_at=5) == [(0.1, 0.8)]


def test_the_best_face_goes_once_there_was_time_to_find_it() -> None:
    assert sent((0, 0.4), (0.5, 0.6), (0.9, 0.5), (1.0, 0.5), over_at=2) == [(1.0, 0.6)]


def test_who_leaves_before_is_sent_all_the_same() -> None:
    assert sent((0, 0.4), (0.3, 0.5), over_at=2.3) == [(2.3, 0.5)]


def test_a_face_seen_once_may_be_none() -> None:
    assert sent((0, 0.9), over_at=2) == []


def test_a_poor_face_is_not_sent_until_a_better_one_comes() -> None:
    assert sent((0, 0.1), (2, 0.15), over_at=3) == []
    assert sent((0, 0.1), (2, 0.15), (3, 0.3)) == [(3, 0.3)]


def test_a_much_better_face_goes_too_but_not_a_little_better_one() -> None:
    assert sent((0, 0.4), (1, 0.4), (1.5, 0.7), (2.0, 0.72), (2.5, 0.7)) == [(1, 0.4), (2.0, 0.72)]
    assert sent((0, 0.4), (1, 0.4), (2.0, 0.55), over_at=4) == [(1, 0.4)]


def test_who_stays_is_sent_again_with_the_best_face_since() -> None:
    looks = [(0, 0.8), (1, 0.8), (20, 0.6), (40, 0.7), (61, 0.5), (62, 0.5)]
    assert sent(*looks) == [(1, 0.8), (61, 0.7)]


@pytest.mark.parametrize("quality", [0.2, 0.75])
def test_the_limits_themselves_count_as_reached(quality: float) -> None:
    assert sent((0, quality), (0.1, quality), over_at=1) == [
        (1 if quality < 0.75 else 0.1, quality)
    ]
