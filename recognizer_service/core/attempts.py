"""Limits against hill climbing: attempts per caller, and thresholds a caller may state."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from recognizer_service.core.types import (
    Criterion,
    Decision,
    Identification,
    SightingId,
    Verification,
)
from shared.demand import current_demand
from shared.errors import Overloaded, PermissionDenied

NEAR = 0.05
"""A similarity at most this far below its threshold is a near miss."""
_MAX_KEYS = 100_000

Whom: TypeAlias = str | SightingId
"""Whom a caller verifies: a subject by its id, or a sighting."""


class AttemptObserver(Protocol):
    """Counts signs of an attack."""

    def missed_nearly(self, question: str) -> None:
        """Count a near miss of `question`, "identify" or "verify"."""

    def attempt_refused(self, question: str) -> None:
        """Count a refusal because the caller's budget is exhausted."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The parameters of a token bucket.

    Attributes:
        burst: capacity.
        refill_s: seconds per new token.
    """

    burst: int
    refill_s: float


class Budget:
    """Token buckets by key; full buckets are dropped first, then the oldest."""

    def __init__(self, allowance: Allowance, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with every bucket full.

        Args:
            allowance: applies to each key.
            clock: returns seconds.
        """
        self._allowance = allowance
        self._clock = clock
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def wait_s(self, key: Hashable) -> float:
        """Return the seconds until a token is available; 0 means now."""
        ahead = self._full_at.get(key, 0.0) - self._clock()
        return max(0.0, ahead - (self._allowance.burst - 1) * self._allowance.refill_s)

    def spend(self, key: Hashable) -> None:
        """Take a token, going negative if necessary."""
        now = self._clock()
        self._full_at[key] = max(now, self._full_at.get(key, now)) + self._allowance.refill_s
        self._full_at.move_to_end(key)
        while self._full_at and (
            len(self._full_at) > _MAX_KEYS or next(iter(self._full_at.values())) <= now
        ):
            self._full_at.popitem(last=False)

    def give_back(self, key: Hashable) -> None:
        """Refund a token."""
        if key in self._full_at:
            self._full_at[key] -= self._allowance.refill_s


class Attempts:
    """Limits what callers who may not see similarities can learn; other callers are not limited.

    A failed verification costs its caller an attempt on that subject or sighting; a near miss of an
    identification costs one of its caller's near misses in that collection. Tokens refill only with
    time. Attempts are counted per process and are lost on restart.
    """

    def __init__(
        self,
        *,
        on_subject: Allowance,
        near_misses: Allowance,
        observer: AttemptObserver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with all budgets full.

        Args:
            on_subject: failed verifications per caller and subject, or sighting.
            near_misses: near misses of identifications per caller and collection.
            observer: counts refusals and near misses.
            clock: returns seconds.
        """
        self._on_subject = Budget(on_subject, clock)
        self._near_misses = Budget(near_misses, clock)
        self._observer = observer

    def check_stated(self, criterion: Criterion, stated_rate: float, *, rate_name: str) -> None:
        """Check that the caller may use this threshold.

        By varying thresholds a caller could recover a similarity, and climb from it to a match.

        Raises:
            PermissionDenied: THRESHOLD_FORBIDDEN; the threshold is looser than the collection's, or
                is a similarity.
        """
        if current_demand().trusted:
            return
        what = ""
        if criterion.min_similarity is not None:
            what = "min_similarity"
        elif criterion.max_rate is not None and criterion.max_rate > stated_rate:
            what = f"{rate_name} {criterion.max_rate:g}, above the collection's {stated_rate:g},"
        if what:
            raise PermissionDenied(
                "THRESHOLD_FORBIDDEN",
                f"{what} may be chosen with the scope admin only",
                field="threshold",
                metadata={"scope": "admin"},
            )

    def begin_verification(self, collection_id: str, whom: Whom) -> None:
        """Spend an attempt; `end_verification` returns it unless the verification fails.

        Raises:
            Overloaded: ATTEMPTS_SPENT.
        """
        demand = current_demand()
        if demand.trusted:
            return
        key = (demand.caller, collection_id, whom)
        what = "sighting" if isinstance(whom, SightingId) else "subject"
        self._check(self._on_subject.wait_s(key), "verify", f"failed verifications of this {what}")
        self._on_subject.spend(key)

    def end_verification(self, collection_id: str, whom: Whom, answer: Verification | None) -> None:
        """Settle a verification; without an answer, the attempt is returned."""
        if answer is not None and _is_near_miss(
            answer.decision, answer.similarity - answer.threshold.similarity
        ):
            self._observer.missed_nearly("verify")
        demand = current_demand()
        if not demand.trusted and (answer is None or answer.decision is not Decision.NO_MATCH):
            self._on_subject.give_back((demand.caller, collection_id, whom))

    def begin_identification(self, collection_id: str) -> None:
        """Check that the caller has near misses left.

        Raises:
            Overloaded: ATTEMPTS_SPENT.
        """
        demand = current_demand()
        if not demand.trusted:
            wait_s = self._near_misses.wait_s((demand.caller, collection_id))
            self._check(wait_s, "identify", "identifications that nearly match")

    def end_identification(self, collection_id: str, answer: Identification) -> None:
        """Count a near miss."""
        if not answer.candidates or not _is_near_miss(answer.decision, answer.candidates[0].margin):
            return
        self._observer.missed_nearly("identify")
        demand = current_demand()
        if not demand.trusted:
            self._near_misses.spend((demand.caller, collection_id))

    def _check(self, wait_s: float, question: str, what: str) -> None:
        if not wait_s:
            return
        self._observer.attempt_refused(question)
        raise Overloaded(
            "ATTEMPTS_SPENT",
            f"too many {what} by this caller; the next is accepted in {wait_s:.0f} s",
            retry_after_s=wait_s,
        )


def _is_near_miss(decision: Decision, margin: float) -> bool:
    return decision is Decision.NO_MATCH and -NEAR <= margin < 0
