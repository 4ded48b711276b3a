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
_STEPS = 2**20  # from -1 to 1

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

    counted = _Pairs(*sides, starts, counts, once=enrolled is None)
    fmrs = [f for f in FMRS if f * counted.impostors >= SUPPORTING_PAIRS] or [FMRS[0]]
    steps = [counted.reached_by(fmr) for fmr in fmrs]
    intervals = counted.intervals(fmrs, seed=seed)
    rows = tuple(
        CalibrationRow(
            fmr=fmr,
            similarity=float(_cosine(step)),
            low=min(low, float(_cosine(step))),
            high=max(high, float(_cosine(step))),
            fnmr=float(np.mean(counted.genuine < step)),
        )
        for fmr, step, (low, high) in zip(fmrs, steps, intervals, strict=True)
    )
    return CalibrationTable(
        probe_codec=probe_codec,
        enrolled_codec=enrolled_codec,
        identities=len(people),
        genuine_pairs=len(counted.genuine),
        impostor_pairs=counted.impostors,
        rows=rows,
        tail_scale=max(counted.mean_excess(), 1e-6),
    )


class _Pairs:
    """All pairs of photographs, counted by their similarity in steps of 2e-6.

    There are a hundred million in a calibration, and sorting them took twice as long.

    Attributes:
        genuine: (G,) the step of every genuine pair.
        impostors: number of impostor pairs.
    """

    def __init__(
        self,
        probe: Embeddings,
        enrolled: Embeddings,
        starts: NDArray[np.int64],
        counts: NDArray[np.int64],
        *,
        once: bool,
    ) -> None:
        """Count the pairs of `calibrate`; rows are grouped by identity."""
        self._sides = probe, enrolled
        self._edges = np.append(starts, starts[-1] + counts[-1])
        total, own = int(counts.sum()) ** 2, int((counts**2).sum())
        self.impostors = (total - own) // 2 if once else total - own
        histogram = np.zeros(_STEPS + 1, np.int64)
        genuine = []
        for people, steps in self._groups():
            histogram += np.bincount(steps.ravel(), minlength=_STEPS + 1)
            for person in people:
                own_steps = self._of(steps, people, person)[:, self._columns(person)]
                histogram -= np.bincount(own_steps.ravel(), minlength=_STEPS + 1)
                genuine.append(own_steps[np.triu_indices(len(own_steps), 1)])
                if not once:
                    genuine.append(own_steps[np.tril_indices(len(own_steps), -1)])
        self.genuine = np.concatenate(genuine)
        # Both orders of a pair were counted, also where it counts once.
        self._reached = np.cumsum(histogram[::-1])[::-1] / (2 if once else 1)

    def reached_by(self, share: float) -> int:
        """The highest step that at least a given share of the impostor pairs reaches."""
        pairs = max(1, round(share * self.impostors))
        return int(np.searchsorted(-self._reached, -pairs, side="right")) - 1

    def mean_excess(self) -> float:
        """How far the most similar impostor pairs lie above the least similar of them, in cosine.

        They are a share of `TAIL_SHARE`, at least ten if there are as many.
        """
        least = self.reached_by(min(1, max(SUPPORTING_PAIRS / self.impostors, TAIL_SHARE)))
        return float(self._reached[least + 1 :].sum() / self._reached[least] * 2 / _STEPS)

    def intervals(self, fmrs: list[float], *, seed: int) -> list[tuple[float, float]]:
        """95 % intervals of the thresholds, by resampling identities with replacement.

        Pairs of photographs are not independent, people are. A sample weights the pairs of
        identities a and b by how often each was drawn, so it suffices to count pairs once, per
        identity pair and grid cell. The grid has evenly spaced log FMR, from FMR 1 to the highest
        similarity.
        """
        points = 2 + round(_GRID_PER_DECADE * math.log10(self.impostors))
        shares = np.geomspace(1, 1 / self.impostors, points)
        grid = np.unique([self.reached_by(share) for share in shares])
        people, cells = len(self._edges) - 1, len(grid) + 1
        owner = np.repeat(np.arange(people, dtype=np.int32), np.diff(self._edges))
        first_of_cell = np.searchsorted(grid, np.arange(_STEPS + 1), side="right") * people
        first_of_cell = first_of_cell.astype(np.int32)
        reached = np.empty((cells, people, people), np.float32)
        for group, steps in self._groups():
            counted = first_of_cell[steps] + owner
            for person in group:
                histogram = np.bincount(
                    self._of(counted, group, person).ravel(), minlength=cells * people
                )
                reached[:, person] = np.cumsum(histogram.reshape(cells, people)[::-1], axis=0)[::-1]
                reached[:, person, person] = 0

        random = np.random.default_rng(seed)
        draws = random.multinomial(people, np.full(people, 1 / people), BOOTSTRAPS)
        weights = draws.astype(np.float32)
        # reached[c] counts pairs of at least grid[c - 1], reached[0] all pairs.
        weighted = np.stack(
            [((weights @ pairs) * weights).sum(1, dtype=np.float64) for pairs in reached]
        )
        # With very few people a sample may hold only one, who has no impostor pair.
        weighted = weighted[:, weighted[0] > 0]
        fmr = np.maximum(weighted[1:] / weighted[0], 1e-12)
        cosines = _cosine(grid)
        thresholds = np.array(
            [[np.interp(-math.log(f), -np.log(column), cosines) for f in fmrs] for column in fmr.T]
        )
        low, high = np.percentile(thresholds, [2.5, 97.5], axis=0)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def _groups(self) -> Iterator[tuple[range, NDArray[np.int32]]]:
        """Some people at a time, and the steps of all pairs of their photographs with any."""
        probe, enrolled = self._sides
        edges = self._edges
        firsts = np.unique(np.searchsorted(edges, np.arange(0, edges[-1], _ROWS_AT_ONCE)))
        for first, last in pairwise([*firsts.tolist(), len(edges) - 1]):
            cosines = np.clip(probe[edges[first] : edges[last]] @ enrolled.T, -1, 1)
            steps = ((cosines + 1) * np.float32(_STEPS / 2)).astype(np.int32)
            yield range(first, last), steps

    def _of(self, rows: NDArray[np.int32], people: range, person: int) -> NDArray[np.int32]:
        """A person's rows among those of a group."""
        start = self._edges[people[0]]
        return rows[self._edges[person] - start : self._edges[person + 1] - start]

    def _columns(self, person: int) -> slice:
        return slice(self._edges[person], self._edges[person + 1])


def _cosine(steps: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """The similarities from which on steps begin."""
    return np.asarray(steps) * (2 / _STEPS) - 1
