"""Paired bootstrap intervals of the difference between two codecs.

Both are evaluated on the same pairs, which cancels the difficulty of each pair. Pairs are not
independent but people are: each sample draws as many people as there are, with replacement. A
genuine pair counts as often as its person was drawn, an impostor pair as often as both together.
Thresholds stay those of the protocol. 0.2 points are 12 of LFW's 6,000 pairs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference of accuracies (shares of 1) with its 95 % interval."""

    difference: float
    low: float
    high: float


def accuracy_difference(
    right: NDArray[np.bool_],
    other: NDArray[np.bool_],
    people: NDArray[np.int64],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """The accuracy of one codec minus that of another.

    Args:
        right: (P,) whether the first classified a pair correctly.
        other: (P,) whether the second did.
        people: (P, 2) the people of a pair, equal in a genuine pair.
        draws: number of bootstrap samples.
        seed: random seed.
    """
    gained = right.astype(np.float64) - other
    names, (one, two) = np.unique(people.T, return_inverse=True)
    genuine = one == two
    random = np.random.default_rng(seed)
    differences = np.empty(draws)
    for draw in range(draws):
        times = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))
        weights = times[one] * np.where(genuine, 1, times[two])
        differences[draw] = gained @ weights / max(1, weights.sum())
    low, high = np.percentile(differences, [2.5, 97.5])
    return Interval(float(gained.mean()), float(low), float(high))
