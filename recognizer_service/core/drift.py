"""Compares the calibration with the probes that are served: how often is one close to a stranger?

The calibration predicts which share of probes (`RATE`) comes as close to the most similar of N
strangers as the threshold of that FPIR. For a probe that matches, strangers are all subjects but
the one it matches: its runner-up tells. For a probe that does not match, they are all subjects,
unless it is an enrolled person who was missed. Such probes count only where matches are rare, so
that missed people are rare, too.
"""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from recognizer_service.core.types import AppliedThreshold, Decision, Identification, Impostor
from recognizer_service.gallery.types import Collection, SubjectHit

RATE = 0.1
"""The FPIR that is checked: frequent enough for a few hundred probes."""
LEAST_PROBES = 300
"""With fewer, nothing is concluded: the 95 % interval of `RATE` would be wider than 7 points."""
MOST_PROBES = 1000
"""The latest that count: 10 % is known to 2 points, and a spoilt camera shows within hundreds."""
_OTHERS = 4  # subjects looked at; every search returns so many besides the match
_LONGEST_S = 7 * 24 * 3600.0  # a week has every kind of day
_RARE = 1 / 30  # share of matches up to which probes without a match count
_COLLECTIONS = 100  # as many as metrics name
_Z = 1.96  # of a 95 % interval


class Verdict(Enum):
    """What the probes say of the calibration."""

    TOO_FEW = "too_few"
    HOLDS = "holds"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True)
class CalibrationCheck:
    """How often the latest probes of a collection came close to a stranger.

    Attributes:
        probes: number of probes counted.
        expected: the share of them that the calibration predicts, in [0, 1].
        observed: the share that did, in [0, 1].
        low, high: its 95 % interval.
        since: when the earliest of them came; None without probes.
    """

    probes: int = 0
    expected: float = RATE
    observed: float = 0.0
    low: float = 0.0
    high: float = 1.0
    since: datetime | None = None

    @property
    def verdict(self) -> Verdict:
        """The conclusion."""
        if self.probes < LEAST_PROBES:
            return Verdict.TOO_FEW
        return Verdict.HIGHER if self.low > self.expected else Verdict.HOLDS


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all probes counted since the start or the last change of model."""

    probes: int = 0
    expected: float = 0.0
    exceeded: int = 0

    def plus(self, impostor: Impostor) -> "Totals":
        """Return the sums with one probe more."""
        return Totals(
            self.probes + 1, self.expected + impostor.expected, self.exceeded + impostor.exceeded
        )


def impostor_of(
    answer: Identification, hits: Sequence[SubjectHit], reaches: Callable[[SubjectHit], bool]
) -> Impostor | None:
    """Return what a probe says of strangers; None if nothing.

    Args:
        answer: the answer to the probe.
        hits: the most similar subjects, best first, each once.
        reaches: whether a hit reaches the threshold of `RATE`.
    """
    if answer.decision not in (Decision.MATCH, Decision.NO_MATCH) or len(hits) <= 1:
        return None
    best = answer.candidates[0]
    fpir = _fpir(best.threshold)
    if fpir is None or fpir >= RATE:
        return None
    if answer.decision is Decision.NO_MATCH:
        others, expected = hits, (RATE - fpir) / (1 - fpir)
    else:
        others, expected = [hit for hit in hits if hit.subject_id != best.hit.subject_id], RATE
    exceeded = any(map(reaches, others[:_OTHERS]))
    return Impostor(exceeded, expected, runner_up=answer.decision is Decision.MATCH)


def _fpir(threshold: AppliedThreshold) -> float | None:
    """Return the calibrated FPIR of a threshold; None if the caller gave a similarity."""
    if not threshold.calibrated or threshold.fmr is None:
        return None
    return -math.expm1(threshold.faces * math.log1p(-threshold.fmr))


class CalibrationChecks:
    """Checks the latest probes of each collection, in memory. Keeps counts, nothing of persons.

    Only the last `MOST_PROBES` of seven days count, so that a collection recovers with its cameras.
    Of a hundred collections, those with the latest probes.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Start without probes.

        Args:
            clock: returns seconds since 1970.
        """
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def count(self, collection: Collection, impostor: Impostor | None) -> None:
        """Count what a probe said of strangers, if anything."""
        if impostor is None:
            return
        name = collection.collection_id
        window = self._windows.get(name)
        if window is None or window.created_at != collection.created_at:
            window = self._windows[name] = _Window(collection.created_at)
        self._windows.move_to_end(name)
        if len(self._windows) > _COLLECTIONS:
            self._windows.popitem(last=False)
        window.count(impostor, self._clock(), subjects=collection.subject_count)

    def of(self, collection: Collection) -> CalibrationCheck:
        """Return the check of a collection."""
        window = self._windows.get(collection.collection_id)
        if window is None or window.created_at != collection.created_at:
            return CalibrationCheck()
        return window.check(self._clock())

    def all(self) -> list[tuple[str, CalibrationCheck, Totals]]:
        """Return the check and the sums of each collection; call it from any thread."""
        now = self._clock()
        return [(name, one.check(now), one.totals) for name, one in list(self._windows.items())]

    def clear(self) -> None:
        """Forget all probes: another model has another calibration."""
        self._windows.clear()


class _Window:
    """The latest probes of a collection, each with its time."""

    def __init__(self, created_at: datetime) -> None:
        """Start without probes; a collection deleted and created again starts anew."""
        self.created_at = created_at
        self.totals = Totals()
        self._latest: deque[tuple[float, Impostor]] = deque(maxlen=MOST_PROBES)
        self._subjects = 0
        self._seen = 0
        self._matching = 0.0

    def count(self, impostor: Impostor, now: float, *, subjects: int) -> None:
        """Count a probe of a collection of so many subjects."""
        # The mean of all probes at first, later mostly of the latest.
        self._seen = min(self._seen + 1, MOST_PROBES)
        self._matching += (impostor.runner_up - self._matching) / self._seen
        if not impostor.runner_up and self._matching > _RARE:
            return
        self._subjects = subjects
        self._latest.append((now, impostor))
        self.totals = self.totals.plus(impostor)

    def check(self, now: float) -> CalibrationCheck:
        """Return the check of the probes that are not too old."""
        counted = [one for one in tuple(self._latest) if one[0] > now - _LONGEST_S]
        if not counted:
            return CalibrationCheck()
        probes = [impostor for _, impostor in counted]
        observed = sum(probe.exceeded for probe in probes) / len(probes)
        # Probes of one person are close to the same strangers, and tell no more than one.
        matching = sum(probe.runner_up for probe in probes)
        low, high = wilson(observed, len(probes) - matching + min(matching, self._subjects))
        return CalibrationCheck(
            probes=len(probes),
            expected=sum(probe.expected for probe in probes) / len(probes),
            observed=observed,
            low=low,
            high=high,
            since=datetime.fromtimestamp(counted[0][0], UTC),
        )


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share in [0, 1] of `count` independent cases."""
    shrunk = 1 + _Z**2 / count
    middle = (share + _Z**2 / (2 * count)) / shrunk
    half = _Z / shrunk * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)
