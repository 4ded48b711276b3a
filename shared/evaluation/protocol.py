"""Face verification: do two photographs show one person?

The protocol is LFW's "unrestricted, labelled outside data" (Huang et al., 2007). Pairs come in
folds, and the threshold for each fold is chosen on the other folds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FAR = 1e-3
"""False accept rate at which the true accept rate is stated."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of photographs, fold after fold, in folds of equal size.

    Attributes:
        first: (P,) rows of the probes.
        second: (P,) rows of the enrolled photographs.
        same: (P,) whether both show one person.
        folds: number of folds, at least 2.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    same: NDArray[np.bool_]
    folds: int


@dataclass(frozen=True, slots=True)
class Score:
    """Verification scores.

    Attributes:
        accuracy: share of pairs classified correctly, mean over the folds, in [0, 1].
        std: standard deviation of the folds' accuracies.
        tar_at_far_1e3: share of genuine pairs accepted at a false accept rate of 1e-3.
    """

    accuracy: float
    std: float
    tar_at_far_1e3: float


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions on pairs.

    Attributes:
        thresholds: (F,) similarity threshold of each fold.
        right: (P,) whether a pair was classified correctly.
    """

    thresholds: NDArray[np.float64]
    right: NDArray[np.bool_]

    @property
    def of_folds(self) -> NDArray[np.float64]:
        """(F,) accuracy of each fold."""
        return np.array([np.mean(own) for own in np.array_split(self.right, len(self.thresholds))])


def cosines(
    probe: NDArray[np.float32], enrolled: NDArray[np.float32], pairs: Pairs
) -> NDArray[np.float32]:
    """(P,) cosine similarities of pairs of embeddings.

    Args:
        probe: (N, D) unit vectors, indexed by `pairs.first`.
        enrolled: (N, D) unit vectors, indexed by `pairs.second`.
        pairs: pairs to compare.
    """
    similarities: NDArray[np.float32] = np.einsum(
        "pd,pd->p", probe[pairs.first], enrolled[pairs.second]
    )
    return similarities


def decide(similarities: NDArray[np.float32], same: NDArray[np.bool_], *, folds: int) -> Decisions:
    """Classify pairs, with the threshold of each fold chosen on the other folds.

    Args:
        similarities: (P,), fold after fold.
        same: (P,) whether a pair is genuine.
        folds: number of folds, at least 2.

    Raises:
        ValueError: fewer than 2 folds, which leaves none to choose a threshold on.
    """
    if folds < 2:  # noqa: PLR2004 - see the docstring
        raise ValueError(f"{folds} folds; at least 2 are needed")
    thresholds, right = [], []
    for own in np.array_split(np.arange(len(same)), folds):
        others = np.delete(np.arange(len(same)), own)
        thresholds.append(_best_threshold(similarities[others], same[others]))
        right.append((similarities[own] >= thresholds[-1]) == same[own])
    return Decisions(np.array(thresholds), np.concatenate(right))


def score(similarities: NDArray[np.float32], pairs: Pairs) -> Score:
    """Compute the scores of pairs with similarities (P,)."""
    accuracies = decide(similarities, pairs.same, folds=pairs.folds).of_folds
    return Score(
        accuracy=float(accuracies.mean()),
        std=float(accuracies.std()),
        tar_at_far_1e3=tar_at_far(similarities, pairs.same, far=FAR),
    )


def tar_at_far(similarities: NDArray[np.float32], same: NDArray[np.bool_], *, far: float) -> float:
    """Share of genuine pairs above the threshold that at most a share `far` of impostors passes.

    Args:
        similarities: (P,) of all pairs.
        same: (P,) whether a pair is genuine; both kinds must occur.
        far: false accept rate in (0, 1).
    """
    impostors = np.sort(similarities[~same])
    passing = int(far * len(impostors))
    strictest_refused = impostors[len(impostors) - passing - 1]
    return float(np.mean(similarities[same] > strictest_refused))


def _best_threshold(similarities: NDArray[np.float32], same: NDArray[np.bool_]) -> float:
    """The threshold of highest accuracy, halfway between two similarities."""
    genuine, impostors = np.sort(similarities[same]), np.sort(similarities[~same])
    edges = np.concatenate([[-np.inf], np.unique(similarities), [np.inf]])
    thresholds = (edges[:-1] + edges[1:]) / 2
    accepted = len(genuine) - np.searchsorted(genuine, thresholds)
    refused = np.searchsorted(impostors, thresholds)
    return float(thresholds[np.argmax(accepted + refused)])
