"""Calibration: false match rates of similarity thresholds.

A table is measured on identities that no network was trained on. The false match rate (FMR) of a
threshold is the share of impostor pairs at or above it. Between measured rows, log FMR is
interpolated linearly in the similarity. Below what the pairs support (ten of them at or above the
threshold) the tail is modelled as exponential, P(s >= t + x) = P(s >= t) exp(-x / scale), with the
mean excess of the top 1 % of impostor similarities as scale, and the result is marked
`extrapolated`. Real impostor similarities fall off faster, so extrapolated thresholds are strict.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shared.errors import InvalidInput
from shared.record import Record

FMRS = (0.5, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""False match rates of a table's rows, as far as the number of pairs supports them."""

SUPPORTING_PAIRS = 10
TAIL_SHARE = 0.01
BOOTSTRAPS = 200
_GRID_PER_DECADE = 8
_ROWS_AT_ONCE = 256

Embeddings = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A similarity threshold with its false match rate.

    Attributes:
        similarity: cosine in [-1, 1]; a match is at or above.
        fmr: false match rate, in (0, 1).
        extrapolated: whether `fmr` is lower than the calibration pairs support.
    """

    similarity: float
    fmr: float
    extrapolated: bool


class CalibrationRow(Record):
    """A measured point of the calibration.

    Attributes:
        fmr: share of impostor pairs at or above `similarity`.
        similarity: cosine in [-1, 1].
        low: lower end of the similarity's 95 % interval, bootstrapped over identities.
        high: upper end of the interval.
        fnmr: share of genuine pairs below `similarity`.
    """

    fmr: float = Field(gt=0, lt=1)
    similarity: float = Field(ge=-1, le=1)
    low: float = Field(ge=-1, le=1)
    high: float = Field(ge=-1, le=1)
    fnmr: float = Field(ge=0, le=1)


class CalibrationTable(Record):
    """Calibration of similarities between maps of two codecs.

    Attributes:
        probe_codec: codec id of the probes, or "uncompressed".
        enrolled_codec: codec id of the enrollments, or "uncompressed".
        identities: number of people.
        genuine_pairs: number of pairs of photographs of one person.
        impostor_pairs: number of pairs of photographs of two people.
        rows: measured points, by falling FMR and rising similarity.
        tail_scale: mean excess of the top 1 % of impostor similarities, in cosine.
    """

    probe_codec: str
    enrolled_codec: str
    identities: int = Field(ge=2)
    genuine_pairs: int = Field(ge=1)
    impostor_pairs: int = Field(ge=1)
    rows: tuple[CalibrationRow, ...] = Field(min_length=1)
    tail_scale: float = Field(gt=0)

    def threshold(self, fmr: float) -> Threshold:
        """The similarity threshold with a given false match rate.

        Raises:
            InvalidInput: FMR_OUT_OF_RANGE; `fmr` is not in (0, 1).
        """
        if not 0 < fmr < 1:
            raise InvalidInput("FMR_OUT_OF_RANGE", f"false match rate is {fmr}; must be in (0, 1)")
        last = self.rows[-1]
        if fmr >= last.fmr:
            similarity = float(np.interp(-math.log(fmr), -self._log_fmrs, self._similarities))
        else:
            beyond = self.tail_scale * math.log(last.fmr / fmr)
            similarity = min(1.0, last.similarity + beyond)
        return Threshold(similarity, fmr, extrapolated=fmr < last.fmr)

    def fmr_at(self, similarity: float) -> Threshold:
        """The false match rate of a similarity threshold in [-1, 1]."""
        last = self.rows[-1]
        if similarity <= last.similarity:
            fmr = math.exp(np.interp(similarity, self._similarities, self._log_fmrs))
        else:
            fmr = last.fmr * math.exp((last.similarity - similarity) / self.tail_scale)
        return Threshold(similarity, fmr, extrapolated=fmr < last.fmr)

    def eased(self, by: Sequence[tuple[float, float]]) -> "CalibrationTable":
        """The table for similarities less an allowance, with which fewer strangers are similar.

        Args:
            by: (false match rate, cosine) by falling rates: how much lower thresholds are. Between
                rates it is interpolated as the table is, beyond them constant.
        """
        if not by:
            return self
        rates, cosines = zip(*by, strict=True)
        rows = []
        for row in self.rows:
            less = float(np.interp(-math.log(row.fmr), -np.log(rates), cosines))
            lower = {
                name: max(-1.0, getattr(row, name) - less) for name in ("similarity", "low", "high")
            }
            rows.append(row.model_copy(update=lower))
        return CalibrationTable.model_validate({**dict(self), "rows": tuple(rows)})

    # Interpolation starts at -1, where every impostor matches.
    @cached_property
    def _similarities(self) -> NDArray[np.float64]:
        return np.array([-1.0, *(row.similarity for row in self.rows)])

    @cached_property
    def _log_fmrs(self) -> NDArray[np.float64]:
        return np.log([1.0, *(row.fmr for row in self.rows)])


def identification_fmr(fpir: float, n: int) -> float:
    """The FMR per comparison at which a search of `n` faces has the FPIR `fpir`.

    It is 1 - (1 - fpir)^(1/n). At FMR 1e-4 a stranger would match one of 10,000 faces 63 % of the
    time, so a search needs a stricter threshold than a comparison.

    Raises:
        InvalidInput: FPIR_OUT_OF_RANGE; `fpir` is not in (0, 1).
    """
    if not 0 < fpir < 1:
        raise InvalidInput(
            "FPIR_OUT_OF_RANGE", f"false positive identification rate is {fpir}; must be in (0, 1)"
        )
    return -math.expm1(math.log1p(-fpir) / max(1, n))


def calibrate(
    probe: Embeddings,
    identities: NDArray[np.int64],
    *,
    enrolled: Embeddings | None = None,
    probe_codec: str,
    enrolled_codec: str,
    seed: int = 0,
) -> CalibrationTable:
    """Measure a calibration table on all pairs of different photographs.

    Args:
        probe: (N, D) unit vectors of N photographs through the probe's codec.
        identities: (N,) the person in each, as an integer.
        enrolled: (N, D) of the same photographs through the other codec; None if both sides use
            one codec, in which case each pair counts once.
        probe_codec: codec id of `probe`.
        enrolled_codec: codec id of `enrolled`.
        seed: random seed of the bootstrap.

    Raises:
        ValueError: fewer than 2 identities, or no identity with two photographs.
    """
    order = np.argsort(identities, kind="stable")
    people, starts, counts = np.unique(identities[order], return_index=True, return_counts=True)
    sides = probe[order], (probe if enrolled is None else enrolled)[order]
    if len(people) < 2 or counts.max() < 2:  # noqa: PLR2004 - a pair needs two
        raise ValueError(f"{len(people)} identities, at most {counts.max()} photographs each")

    genuine, impostor = _similarities(*sides, starts, counts, once=enrolled is None)
    fmrs = [f for f in FMRS if f * len(impostor) >= SUPPORTING_PAIRS] or [FMRS[0]]
    thresholds = [_reached_by(impostor, fmr) for fmr in fmrs]
    intervals = _intervals(*sides, starts, counts, grid=_grid(impostor), fmrs=fmrs, seed=seed)
    tail = impostor[-max(SUPPORTING_PAIRS, round(TAIL_SHARE * len(impostor))) :]
    rows = tuple(
        CalibrationRow(
            fmr=fmr,
            similarity=similarity,
            low=min(low, similarity),
            high=max(high, similarity),
            fnmr=float(np.mean(genuine < similarity)),
        )
        for fmr, similarity, (low, high) in zip(fmrs, thresholds, intervals, strict=True)
    )
    return CalibrationTable(
        probe_codec=probe_codec,
        enrolled_codec=enrolled_codec,
        identities=len(people),
        genuine_pairs=len(genuine),
        impostor_pairs=len(impostor),
        rows=rows,
        tail_scale=max(float(np.mean(tail - tail[0])), 1e-6),
    )


def _similarities(
    probe: Embeddings,
    enrolled: Embeddings,
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    *,
    once: bool,
) -> tuple[Embeddings, Embeddings]:
    """Cosines of all genuine and all impostor pairs, sorted; rows are grouped by identity."""
    genuine, impostor = [], []
    similar = _by_person(probe, enrolled, starts, counts)
    for start, count, block in zip(starts, counts, similar, strict=True):
        end = start + count
        own = block[:, start:end]
        genuine.append(own[np.triu_indices(count, 1)])
        impostor.append(block[:, end:].ravel())
        if not once:
            genuine.append(own[np.tril_indices(count, -1)])
            impostor.append(block[:, :start].ravel())
    sides = np.concatenate(genuine), np.concatenate(impostor)
    for similarities in sides:
        similarities.sort()
    return sides


def _by_person(
    probe: Embeddings, enrolled: Embeddings, starts: NDArray[np.int64], counts: NDArray[np.int64]
) -> Iterator[Embeddings]:
    """Cosines of each person's photographs to all; some hundred rows are multiplied at a time."""
    edges = np.append(starts, starts[-1] + counts[-1])
    groups = np.unique(np.searchsorted(edges, np.arange(0, edges[-1], _ROWS_AT_ONCE)))
    for first, last in pairwise([*groups, len(starts)]):
        block = np.clip(probe[edges[first] : edges[last]] @ enrolled.T, -1, 1)
        yield from np.split(block, edges[first + 1 : last] - edges[first])


def _reached_by(ascending: Embeddings, share: float) -> float:
    """The largest value that at least a given share of the sorted values reaches."""
    return float(ascending[len(ascending) - max(1, round(share * len(ascending)))])


def _grid(impostor: Embeddings) -> Embeddings:
    """Ascending similarities at evenly spaced log FMR, from FMR 1 to the highest similarity."""
    points = 2 + round(_GRID_PER_DECADE * math.log10(len(impostor)))
    shares = np.geomspace(1, 1 / len(impostor), points)
    return np.unique(np.array([_reached_by(impostor, share) for share in shares], np.float32))


def _intervals(
    probe: Embeddings,
    enrolled: Embeddings,
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    *,
    grid: Embeddings,
    fmrs: list[float],
    seed: int,
) -> list[tuple[float, float]]:
    """95 % intervals of the thresholds, by resampling identities with replacement.

    Pairs of photographs are not independent, people are. A sample weights the pairs of identities
    a and b by how often each was drawn, so it suffices to count pairs once, per identity pair and
    grid cell.
    """
    people, cells = len(starts), len(grid) + 1
    owner = np.repeat(np.arange(people), counts)
    reached = np.empty((cells, people, people), np.float32)
    for person, block in enumerate(_by_person(probe, enrolled, starts, counts)):
        cell = np.searchsorted(grid, block, side="right")
        histogram = np.bincount((cell * people + owner).ravel(), minlength=cells * people)
        reached[:, person] = np.cumsum(histogram.reshape(cells, people)[::-1], axis=0)[::-1]
        reached[:, person, person] = 0

    draws = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), BOOTSTRAPS)
    weights = draws.astype(np.float32)
    # reached[c] counts pairs of at least grid[c - 1], reached[0] all pairs.
    weighted = np.stack(
        [((weights @ pairs) * weights).sum(1, dtype=np.float64) for pairs in reached]
    )
    # With very few people a sample may hold only one, who has no impostor pair.
    weighted = weighted[:, weighted[0] > 0]
    fmr = np.maximum(weighted[1:] / weighted[0], 1e-12)
    thresholds = np.array(
        [[np.interp(-math.log(f), -np.log(column), grid) for f in fmrs] for column in fmr.T]
    )
    low, high = np.percentile(thresholds, [2.5, 97.5], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))
