"""Error rates of faces that were spoilt alike: rows, a search and error-versus-discard curves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.calibration import CalibrationTable, identification_fmr
from shared.evaluation.bootstrap import rate_interval
from shared.evaluation.coded import Coded
from shared.evaluation.spoilings import CONDITIONS
from shared.evaluation.trust_records import (
    ALL_CONDITIONS,
    DiscardCurve,
    SearchRow,
    TrustRow,
)
from shared.inference.quality_head import NOT_A_FACE, Judged

RATES = (1e-3, 1e-4)
UNSPOILT, TEXTURES = "unspoilt", "textures"
YAW_BINS = (0, 15, 30, 45, 60, 90)
DISCARDED = tuple(i / 20 for i in range(11))
PHOTOS = 2
"""Photographs of a person, side by side."""
_DRAWS = 200
_FPIR = 1e-2
_SEED = 21
_Rows: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Compared:
    """N faces that are compared with one another.

    Attributes:
        people: (N,) who each shows; those of no face are all different.
        coded: through codec and extractor.
        judged: what the map says of the face.
    """

    people: NDArray[np.int64]
    coded: Coded
    judged: Judged

    def __getitem__(self, rows: _Rows | NDArray[np.bool_]) -> "Compared":
        """Some of the faces."""
        return Compared(self.people[rows], self.coded[rows], self.judged[rows])

    def excess(self, rows: _Rows, others: "Compared", columns: _Rows) -> NDArray[np.float32]:
        """(N, M) similarity of some faces to some others, less their allowance."""
        similarity = self.coded.vectors[rows] @ others.coded.vectors[columns].T
        return similarity - self.judged[rows].allowance(others.judged[columns])


@dataclass(frozen=True, slots=True)
class Seen(Compared):
    """N faces as the product sees them.

    Attributes:
        yaw: (N,) degrees.
        score: (N,) the detector's, in [0, 1].
        before: (N,) the quality that models without a head go by.
        unfit: (N,) whether the encoder knows from the picture that the face should not be matched.
    """

    yaw: NDArray[np.float32]
    score: NDArray[np.float32]
    before: NDArray[np.float32]
    unfit: NDArray[np.bool_]


def trust_rows(
    condition: str,
    seen: Compared,
    thresholds: dict[float, float],
    *,
    min_quality: float,
    wanted: NDArray[np.bool_] | None = None,
) -> Iterator[TrustRow]:
    """A row for each asked rate; `wanted` says, for each two faces, whether they are compared."""
    fit = seen.judged.quality >= min_quality
    kept = np.nonzero(fit)[0]
    _, people = np.unique(seen.people[kept], return_inverse=True)
    excess = seen.excess(kept, seen, kept)
    once = np.triu(np.ones_like(excess, bool), 1)
    if wanted is not None:
        once &= wanted[np.ix_(kept, kept)]
    same = people[:, None] == people[None]
    strangers, mates = once & ~same, once & same
    pairs = int(strangers.sum())
    for rate, threshold in thresholds.items():
        reached = excess >= threshold
        measured = float(reached[strangers].mean()) if pairs else None
        low, high = rate_interval(reached & strangers, strangers, people) if pairs else (None, None)
        yield TrustRow(
            condition=condition,
            fmr_asked=rate,
            fmr_measured=measured,
            low=low,
            high=high,
            fnmr=float(1 - reached[mates].mean()) if mates.any() else None,
            low_quality_share=float(1 - fit.mean()),
            pairs=pairs,
            genuine_pairs=int(mates.sum()),
            faces=len(fit),
        )


def search_row(
    seen: Compared, strangers: Compared, table: CalibrationTable, *, min_quality: float
) -> SearchRow | None:
    """Everyone's first photograph is enrolled; the second is a probe, as are those of strangers."""
    fit = seen.judged.quality >= min_quality
    first = np.arange(len(fit)) % PHOTOS == 0
    gallery, mated = np.nonzero(fit & first)[0], np.nonzero(fit & ~first)[0]
    probes = np.nonzero(strangers.judged.quality >= min_quality)[0]
    if not len(gallery) or not len(mated) or not len(probes):
        return None
    threshold = table.threshold(identification_fmr(_FPIR, len(gallery))).similarity
    alarms = strangers.excess(probes, seen, gallery).max(1) >= threshold
    draws = np.random.default_rng(_SEED).binomial(len(alarms), alarms.mean(), _DRAWS)
    low, high = np.percentile(draws / len(alarms), [2.5, 97.5])
    excess = seen.excess(mated, seen, gallery)
    own = seen.people[gallery[excess.argmax(1)]] == seen.people[mated]
    right = own & (excess.max(1) >= threshold)
    return SearchRow(
        fpir_asked=_FPIR,
        fpir_measured=float(alarms.mean()),
        low=float(low),
        high=float(high),
        fnir=float(1 - right.mean()),
        enrolled=len(gallery),
        strangers=len(alarms),
    )


def rows_by_yaw(
    seen: Seen, thresholds: dict[float, float], *, min_quality: float
) -> Iterator[TrustRow]:
    """Unspoilt pairs, by the yaw of the more turned of the two."""
    turned = np.abs(seen.yaw)
    worse = np.maximum(turned[:, None], turned[None])
    for low, high in pairwise(YAW_BINS):
        wanted = (worse >= low) & (worse < high)
        if np.triu(wanted, 1).any():
            name = f"yaw {low}° to {high}°"
            yield from trust_rows(name, seen, thresholds, min_quality=min_quality, wanted=wanted)


def discard_curves(
    seen: Mapping[str, Seen], threshold: float, *, learned: bool
) -> Iterator[DiscardCurve]:
    """A probe against the person's other photograph as it is: of all conditions, and unspoilt."""
    faces = {
        name: each
        for name, each in seen.items()
        if name != TEXTURES and NOT_A_FACE not in CONDITIONS[name].parts
    }
    for name, probes in {
        ALL_CONDITIONS: [*faces.values()],
        UNSPOILT: [faces[UNSPOILT]],
    }.items():
        yield from _curves(name, probes, faces[UNSPOILT], threshold, learned=learned)


def _curves(
    name: str, probes: Sequence[Seen], unspoilt: Seen, threshold: float, *, learned: bool
) -> Iterator[DiscardCurve]:
    measures: dict[str, Callable[[Seen], NDArray[np.float32]]] = {
        "measured quality": lambda each: each.before,
        "detector score": lambda each: each.score,
    }
    if learned:
        measures = {"learned quality": lambda each: each.judged.quality} | measures
    missed: list[NDArray[np.bool_]] = []
    worse: dict[str, list[NDArray[np.float32]]] = {measure: [] for measure in measures}
    for each in probes:
        rows = np.arange(len(each.people))
        mates = rows ^ 1  # photographs stand in pairs
        excess = each.excess(rows, unspoilt, rows)
        missed.append(excess[rows, mates] < threshold)
        for measure, of in measures.items():
            worse[measure].append(np.minimum(of(each), of(unspoilt)[mates]))
    failed = np.concatenate(missed)
    for measure, parts in worse.items():
        ranked = failed[np.argsort(np.concatenate(parts), kind="stable")]
        rates = [float(ranked[round(share * len(ranked)) :].mean()) for share in DISCARDED]
        yield DiscardCurve(probes=name, measure=measure, discarded=DISCARDED, fnmr=tuple(rates))
    least = [max(0.0, failed.mean() - share) / (1 - share) for share in DISCARDED]
    yield DiscardCurve(
        probes=name, measure="a perfect measure", discarded=DISCARDED, fnmr=tuple(map(float, least))
    )
