"""Faces that resemble many others: what thresholds owe to them, and to all the rest.

Strangers are not alike everywhere. Children, and people of origins that an extractor separates less
well, stand close together, and the most similar strangers of a population are nearly all of them.
Without knowing them, a threshold for everybody follows them: too strict for others, and still too
lax for them. In the terms of Doddington et al. ("Sheep, goats, lambs and wolves", 1998) they are
lambs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.calibration import FMRS, SUPPORTING_PAIRS
from shared.model_directory import CrowdConfig, Scale

_NEAREST = 0.01
_SCALED_FROM, _SCALED_TO = 0.5, 0.98
"""A face is as crowded as half of all, or fewer: 0; as one in 50: 1."""
_IN_A_CROWD = 0.25
"""Product of how crowded two strangers are, from which on they count as of one crowd."""
_HELD = (1e-3, 1e-4)
_SPREADS = np.arange(0, 0.41, 0.01)

Floats = NDArray[np.float32]


def nearest_strangers(
    vectors: Floats, people: NDArray[np.int64], kinds: NDArray[np.int64]
) -> Floats:
    """(N,) mean cosine of each face to the nearest 1 % of the strangers that are of its kind.

    Args:
        vectors: (N, D) unit vectors.
        people: (N,) who each shows.
        kinds: (N,) only faces of one kind are compared.
    """
    nearest = np.empty(len(vectors), np.float32)
    for kind in np.unique(kinds):
        rows = np.nonzero(kinds == kind)[0]
        close = vectors[rows] @ vectors[rows].T
        close[people[rows][:, None] == people[rows][None]] = -1
        count = max(2, round(_NEAREST * len(rows)))
        nearest[rows] = np.sort(close, axis=1)[:, -count:].mean(1)
    return nearest


def crowding(nearest: Floats, kinds: NDArray[np.int64]) -> Floats:
    """(N,) how much nearer strangers are than to others of the kind, in standard deviations."""
    found = np.empty_like(nearest)
    for kind in np.unique(kinds):
        own = nearest[kinds == kind]
        found[kinds == kind] = (own - own.mean()) / (own.std() or 1)
    return found


def crowd_scale(said: Floats) -> Scale:
    """What a head says of faces of people held out, and how crowded that is."""
    low, high = (float(np.quantile(said, share)) for share in (_SCALED_FROM, _SCALED_TO))
    return (low, 0.0), (max(high, low + 1e-3), 1.0)


@dataclass(frozen=True, slots=True)
class Impostors:
    """All P pairs of strangers among some faces.

    Attributes:
        one: (P,) rows of the first faces.
        other: (P,) rows of the second ones.
        similarity: (P,) cosines.
    """

    one: NDArray[np.int64]
    other: NDArray[np.int64]
    similarity: Floats

    @classmethod
    def among(cls, vectors: Floats, people: NDArray[np.int64]) -> "Impostors":
        """All pairs of N faces with (N, D) unit vectors, (N,) by whom they are."""
        one, other = np.triu_indices(len(vectors), 1)
        strangers = people[one] != people[other]
        one, other = one[strangers], other[strangers]
        return cls(one, other, (vectors @ vectors.T)[one, other])

    def reached_by(self, rate: float, *, less: Floats | float = 0.0) -> float:
        """The similarity, less something, that a share of the pairs reaches."""
        return float(np.quantile(self.similarity - less, 1 - rate))


def fit_crowd(scale: Scale, crowded: Floats, impostors: Impostors) -> CrowdConfig:
    """By how much thresholds rise for two faces of a crowd, and fall for everybody.

    Such pairs get the least allowance with which their false match rate is no higher than that of
    all pairs, at 1e-3 and at 1e-4. A threshold for similarities less this allowance is lower.

    Args:
        scale: from `crowd_scale`.
        crowded: (N,) how crowded faces of people held out are, in [0, 1].
        impostors: the pairs of these faces.
    """
    both = crowded[impostors.one] * crowded[impostors.other]
    crowd = both >= _IN_A_CROWD

    def holds(spread: float) -> bool:
        left = impostors.similarity - np.float32(spread) * both
        reached = [left >= np.quantile(left, 1 - rate) for rate in _HELD]
        return all(each[crowd].mean() <= each.mean() for each in reached)

    held = (float(each) for each in _SPREADS if holds(each))
    spread = next(held, float(_SPREADS[-1])) if crowd.any() else 0.0
    supported = [rate for rate in FMRS if rate * len(both) >= SUPPORTING_PAIRS]
    eased = [
        max(0.0, impostors.reached_by(rate) - impostors.reached_by(rate, less=spread * both))
        for rate in supported
    ]
    return CrowdConfig(scale=scale, spread=spread, eased=tuple(zip(supported, eased, strict=True)))
