"""Face verification: are these two photographs of one person? How often, and how surely.

The protocol is that of Labeled Faces in the Wild (Huang et al., 2007), "unrestricted, labelled
outside data": pairs come in folds; the threshold for a fold is chosen on all other folds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FAR = 1e-3
"""False accept rate at which the true accept rate is stated."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of photographs, fold after fold, all folds of one size.

    Attributes:
        first: (P,) row of the photograph that is asked about.
        second: (P,) row of the photograph it is compared with.
        same: (P,) whether both show one person.
        folds: number of folds, at least 2.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    same: NDArray[np.bool_]
    folds: int


@dataclass(frozen=True, slots=True)
class Score:
    """How well pairs are told apart.

    Attributes:
        accuracy: share of pairs told right, mean over the folds, in [0, 1].
        std: standard deviation of the folds' accuracies.
        tar_at_far_1e3: share of genuine pairs accepted at a false accept rate of 1e-3.
    """

    accuracy: float
    std: float
    tar_at_far_1e3: float


@dataclass(frozen=True, slots=True)
class Decisions:
    """Which pairs were told right.

    Attributes:
        thresholds: (F,) similarity that each fold's pairs must reach.
        right: (P,) whether a pair was told right.
    """

    thresholds: NDArray[np.float64]
    right: NDArray[np.bool_]

    @property
    def of_folds(self) -> NDArray[np.float64]:
        """(F,) share of each fold's pairs that were told right."""
        return np.array([np.mean(own) for own in np.array_split(self.right, len(self.thresholds))])


def cosines(
    probe: NDArray[np.float32], enrolled: NDArray[np.float32], pairs: Pairs
) -> NDArray[np.float32]:
    """(P,) similarities of pairs of embeddings.

    Args:
        probe: (N, D) unit vectors of which `pairs.first` names rows.
        enrolled: (N, D) unit vectors of which `pairs.second` names rows.
        pairs: what to compare.
    """
    similarities: NDArray[np.float32] = np.einsum(
        "pd,pd->p", probe[pairs.first], enrolled[pairs.second]
    )
    return similarities


def decide(similarities: NDArray[np.float32], same: NDArray[np.bool_], *, folds: int) -> Decisions:
    """Tell pairs apart, with the threshold of each fold chosen on the other folds.

    Args:
        similarities: (P,), fold after fold.
        same: (P,) whether a pair is genuine.
        folds: how many, at least 2.

    Raises:
        ValueError: fewer than 2 folds, which leaves nothing to choose a threshold on.
    """
    if folds < 2:  # noqa: PLR2004 - the docstring says why
        raise ValueError(f"{folds} folds; at least 2 are needed")
    thresholds, right = [], []
    for own in np.array_split(np.arange(len(same)), folds):
        others = np.delete(np.arange(len(same)), own)
        thresholds.append(_best_threshold(similarities[others], same[others]))
        right.append((similarities[own] >= thresholds[-1]) == same[own])
    return Decisions(np.array(thresholds), np.concatenate(right))


def score(similarities: NDArray[np.float32], pairs: Pairs) -> Score:
    """Score pairs by their similarities (P,)."""
    accuracies = decide(similarities, pairs.same, folds=pairs.folds).of_folds
    return Score(
        accuracy=float(accuracies.mean()),
        std=float(accuracies.std()),
        tar_at_far_1e3=tar_at_far(similarities, pairs.same, far=FAR),
    )


def tar_at_far(similarities: NDArray[np.float32], same: NDArray[np.bool_], *, far: float) -> float:
    """Share of genuine pairs above a threshold that at most a share `far` of impostors pass.

    Args:
        similarities: (P,) of all pairs.
        same: (P,) whether a pair is genuine; there is at least one of either kind.
        far: false accept rate in (0, 1).
    """
    impostors = np.sort(similarities[~same])
    passing = int(far * len(impostors))
    strictest_refused = impostors[len(impostors) - passing - 1]
    return float(np.mean(similarities[same] > strictest_refused))


def _best_threshold(similarities: NDArray[np.float32], same: NDArray[np.bool_]) -> float:
    """The threshold that tells most pairs right, halfway between two similarities."""
    genuine, impostors = np.sort(similarities[same]), np.sort(similarities[~same])
    edges = np.concatenate([[-np.inf], np.unique(similarities), [np.inf]])
    thresholds = (edges[:-1] + edges[1:]) / 2
    accepted = len(genuine) - np.searchsorted(genuine, thresholds)
    refused = np.searchsorted(impostors, thresholds)
    return float(thresholds[np.argmax(accepted + refused)])
