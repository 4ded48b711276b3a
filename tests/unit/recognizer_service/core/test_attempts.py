"""Budgets of attempts, by a clock that only the tests move."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from recognizer_service.core.attempts import Allowance, Attempts, Budget
from recognizer_service.core.types import AppliedThreshold, Candidate, Decision, Identification
from recognizer_service.gallery.types import SubjectHit
from shared.demand import Demand, demanding
from shared.errors import Overloaded


@dataclass
class Observer:
    """Counts what it is told."""

    now: float = 1000.0
    near: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def missed_nearly(self, question: str) -> None:
        self.near[question] += 1

    def attempt_refused(self, question: str) -> None:
        self.refused[question] += 1


def identification(similarity: float, decision: Decision = Decision.NO_MATCH) -> Identification:
    hit = SubjectHit("a", "A", "face", "0" * 16, similarity)
    threshold = AppliedThreshold(0.6, 1e-3, 1, calibrated=True, extrapolated=False)
    return Identification(decision, (Candidate(hit, threshold),))


def test_what_is_spent_comes_back_with_time_up_to_the_burst() -> None:
    now = 0.0
    budget = Budget(Allowance(2, 10), lambda: now)
    budget.spend("a")
    assert budget.wait_s("a") == 0
    budget.spend("a")
    assert budget.wait_s("a") == 10
    assert budget.wait_s("b") == 0
    now = 4
    assert budget.wait_s("a") == 6
    now = 1000
    budget.spend("a")
    budget.spend("a")
    assert budget.wait_s("a") == 10
    budget.give_back("a")
    assert budget.wait_s("a") == 0


def test_identifications_that_nearly_match_are_numbered() -> None:
    observer = Observer()
    attempts = Attempts(
        on_subject=Allowance(1, 1),
        near_misses=Allowance(2, 60),
        observer=observer,
        clock=lambda: observer.now,
    )
    with demanding(Demand("door", trusted=False)):
        for answer in (
            identification(0.3),
            identification(0.7, Decision.MATCH),
            identification(0.58, Decision.LOW_QUALITY),
            Identification(Decision.EMPTY_GALLERY),
        ):
            attempts.begin_identification("lobby")
            attempts.end_identification("lobby", answer)
        assert observer.near["identify"] == 0
        for _ in range(2):
            attempts.begin_identification("lobby")
            attempts.end_identification("lobby", identification(0.58))
        with pytest.raises(Overloaded, match="the next is accepted in 60 s") as caught:
            attempts.begin_identification("lobby")
        assert (caught.value.reason, caught.value.retry_after_s) == ("ATTEMPTS_SPENT", 60)
        attempts.begin_identification("elsewhere")
        observer.now += 61
        attempts.begin_identification("lobby")
    for free in (Demand("gate", trusted=False), Demand("door")):
        with demanding(free):
            attempts.begin_identification("lobby")
    assert observer.near["identify"] == 2
    assert observer.refused["identify"] == 1
