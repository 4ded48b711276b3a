"""What thresholds owe to crowds: strangers who all resemble one another."""

import numpy as np
import pytest

from shared.training.crowd import Impostors, crowd_scale, crowding, fit_crowd, nearest_strangers

PEOPLE, CROWDED, SIZE = 1200, 120, 32


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """A tenth of the people look alike, the others anyhow."""
    random = np.random.default_rng(0)
    drawn = random.normal(size=(PEOPLE, SIZE))
    drawn[:CROWDED] += 0.7 * random.normal(size=SIZE)
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def test_a_threshold_is_raised_for_the_crowd_and_eased_for_everybody(vectors: np.ndarray) -> None:
    impostors = Impostors.among(vectors, np.arange(PEOPLE))
    assert len(impostors.similarity) == PEOPLE * (PEOPLE - 1) / 2
    crowded = (np.arange(PEOPLE) < CROWDED).astype(np.float32)
    found = fit_crowd(((0, 0), (1, 1)), crowded, impostors)
    both = crowded[impostors.one] * crowded[impostors.other] > 0
    for rate, eased in found.eased:
        before = np.quantile(impostors.similarity, 1 - rate)
        left = impostors.similarity - np.float32(found.spread) * both
        reached = left >= before - np.float32(eased)
        assert reached.mean() == pytest.approx(rate, rel=0.1)
        if rate in (1e-3, 1e-4):
            assert np.mean(impostors.similarity[both] >= before) > 20 * rate
            assert reached[both].mean() <= 1.5 * rate
    assert 0.05 < found.spread < 0.4
    assert dict(found.eased)[1e-3] > 0.02


def test_nothing_changes_where_nobody_is_in_a_crowd(vectors: np.ndarray) -> None:
    impostors = Impostors.among(vectors, np.arange(PEOPLE))
    found = fit_crowd(((0, 0), (1, 1)), np.zeros(PEOPLE, np.float32), impostors)
    assert found.spread == 0
    assert {eased for _, eased in found.eased} == {0}


def test_who_is_in_a_crowd_has_strangers_near(vectors: np.ndarray) -> None:
    kinds = np.arange(PEOPLE) % 2
    near = nearest_strangers(vectors, np.arange(PEOPLE), kinds)
    assert near[:CROWDED].min() > np.median(near[CROWDED:])
    own = nearest_strangers(vectors, np.arange(PEOPLE) // 2, kinds // 2)
    assert own[0] < nearest_strangers(vectors, np.arange(PEOPLE), kinds // 2)[0] + 1e-6
    shares = crowding(near, kinds)
    for kind in (0, 1):
        assert shares[kinds == kind].mean() == pytest.approx(0, abs=1e-5)
    (low, _), (high, _) = crowd_scale(shares)
    assert (np.mean(shares <= low), np.mean(shares <= high)) == pytest.approx((0.5, 0.98), abs=0.01)
