"""What probes say of the calibration, without a model."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from recognizer_service.core.drift import (
    LEAST_PROBES,
    MOST_PROBES,
    RATE,
    CalibrationChecks,
    Verdict,
    impostor_of,
    wilson,
)
from recognizer_service.core.types import (
    AppliedThreshold,
    Candidate,
    Decision,
    Identification,
    Impostor,
)
from recognizer_service.gallery.types import SubjectHit
from tests.unit.recognizer_service.core.one_face import ONE_FACE

DAY_S = 24 * 3600
OFFICE = replace(ONE_FACE, subject_count=1000, face_count=1000)
CALM = Impostor(exceeded=False, expected=RATE, runner_up=True)
CLOSE = replace(CALM, exceeded=True)
MISSED = Impostor(exceeded=True, expected=0.09)


class Clock:
    """Moves when told."""

    now = datetime(2026, 11, 1, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def checks(clock: Clock) -> CalibrationChecks:
    return CalibrationChecks(clock)


def answer(decision: Decision, *, fmr: float | None = 1e-3, faces: int = 10) -> Identification:
    threshold = AppliedThreshold(0.5, fmr, faces, calibrated=True, extrapolated=False)
    return Identification(decision, (Candidate(hit("best", 0.6), threshold),))


def hit(subject_id: str, similarity: float) -> SubjectHit:
    return SubjectHit(subject_id, "", "", "", similarity)


HITS = [hit("best", 0.6), hit("second", 0.4), hit("third", 0.3)]


def test_of_a_match_the_runner_up_tells() -> None:
    found = impostor_of(answer(Decision.MATCH), HITS, lambda one: one.subject_id == "second")
    assert found == Impostor(exceeded=True, expected=RATE, runner_up=True)
    assert impostor_of(answer(Decision.MATCH), HITS, lambda one: one.similarity > 0.5) == CALM


def test_of_an_unknown_face_the_best_tells_given_that_it_did_not_match() -> None:
    found = impostor_of(answer(Decision.NO_MATCH), HITS, lambda one: one.subject_id == "best")
    assert found is not None
    fpir = 1 - (1 - 1e-3) ** 10
    assert found.exceeded
    assert not found.runner_up
    assert found.expected == pytest.approx((RATE - fpir) / (1 - fpir))


@pytest.mark.parametrize(
    ("unfit", "hits"),
    [
        (answer(Decision.LOW_QUALITY), HITS),
        (Identification(Decision.EMPTY_GALLERY), []),
        (answer(Decision.MATCH), HITS[:1]),  # nobody else is enrolled
        (answer(Decision.NO_MATCH), HITS[:1]),  # the same collection
        (answer(Decision.MATCH, fmr=None), HITS),  # a similarity was asked for, of unknown rate
        (answer(Decision.MATCH, faces=200), HITS),  # FPIR 0.18: a match says little
    ],
)
def test_other_answers_tell_nothing(unfit: Identification, hits: list[SubjectHit]) -> None:
    assert impostor_of(unfit, hits, lambda _: True) is None


def test_a_threshold_of_a_callers_similarity_tells_nothing() -> None:
    asked = answer(Decision.MATCH)
    threshold = replace(asked.candidates[0].threshold, calibrated=False)
    found = replace(asked, candidates=(replace(asked.candidates[0], threshold=threshold),))
    assert impostor_of(found, HITS, lambda _: True) is None


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [  # R: prop.test(x, n, correct = FALSE)
        (0.1, 300, 0.07098, 0.13910),
        (0.0, 20, 0.0, 0.16113),
        (1.0, 20, 0.83887, 1.0),
    ],
)
def test_intervals_are_wilsons(share: float, count: int, low: float, high: float) -> None:
    assert wilson(share, count) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_a_verdict_needs_enough_probes(checks: CalibrationChecks) -> None:
    for _ in range(LEAST_PROBES - 1):
        checks.count(OFFICE, CLOSE)
    assert checks.of(OFFICE).verdict is Verdict.TOO_FEW
    checks.count(OFFICE, CLOSE)
    assert checks.of(OFFICE).verdict is Verdict.HIGHER


@pytest.mark.parametrize(
    ("each", "verdict"), [(10, Verdict.HOLDS), (9, Verdict.HOLDS), (6, Verdict.HIGHER)]
)
def test_the_rate_holds_unless_the_interval_is_above_it(
    checks: CalibrationChecks, each: int, verdict: Verdict
) -> None:
    for number in range(600):
        checks.count(OFFICE, CALM if number % each else CLOSE)
    found = checks.of(OFFICE)
    assert found.observed == pytest.approx(1 / each, abs=0.002)
    assert found.low < found.observed < found.high
    assert found.verdict is verdict


def test_one_person_who_returns_counts_once_for_the_interval(checks: CalibrationChecks) -> None:
    """Of six people one or two may resemble another, as often as they come."""
    family = replace(OFFICE, subject_count=6)
    for number in range(600):
        checks.count(family, CALM if number % 6 else CLOSE)
    assert checks.of(family).probes == 600
    assert checks.of(family).verdict is Verdict.HOLDS


def test_where_many_match_those_who_do_not_are_not_counted(checks: CalibrationChecks) -> None:
    """They may be enrolled people who were missed, and resemble themselves."""
    for number in range(900):
        checks.count(OFFICE, MISSED if number % 3 else CALM)
    found = checks.of(OFFICE)
    assert found.probes == 300
    assert found.observed == 0


def test_where_few_match_those_who_do_not_are_counted(checks: CalibrationChecks) -> None:
    for number in range(900):
        checks.count(OFFICE, CALM if number % 100 == 99 else MISSED)
    found = checks.of(OFFICE)
    assert found.probes == 900
    assert found.expected == pytest.approx(0.09 * 0.99 + RATE * 0.01)
    assert found.verdict is Verdict.HIGHER


def test_old_probes_and_too_many_are_forgotten(checks: CalibrationChecks, clock: Clock) -> None:
    for _ in range(400):
        checks.count(OFFICE, CLOSE)
    clock.now += 6 * DAY_S
    later = datetime.fromtimestamp(clock.now, UTC)
    for _ in range(MOST_PROBES - 300):
        checks.count(OFFICE, CALM)
    found = checks.of(OFFICE)
    assert found.observed == 0.3
    assert found.since == later - timedelta(days=6)
    clock.now += 2 * DAY_S
    assert checks.of(OFFICE).observed == 0
    assert checks.of(OFFICE).since == later
    clock.now += 6 * DAY_S
    assert checks.of(OFFICE).since is None
    ((name, _, totals),) = checks.all()
    assert (name, totals.probes, totals.exceeded) == ("default", MOST_PROBES + 100, 400)
    assert totals.expected == pytest.approx(RATE * totals.probes)


def test_a_collection_created_again_and_another_model_start_anew(checks: CalibrationChecks) -> None:
    checks.count(OFFICE, CLOSE)
    again = replace(OFFICE, created_at=OFFICE.created_at + timedelta(days=1))
    assert checks.of(again).probes == 0
    checks.count(again, CLOSE)
    assert checks.of(again).probes == 1
    assert len(checks.all()) == 1
    checks.clear()
    assert checks.all() == []


def test_a_hundred_collections_are_remembered(checks: CalibrationChecks) -> None:
    for number in range(101):
        checks.count(replace(OFFICE, collection_id=str(number)), CALM)
        checks.count(replace(OFFICE, collection_id="busy"), CALM)
    names = [name for name, _, _ in checks.all()]
    assert len(names) == 100
    assert "busy" in names
    assert not {"0", "1"} & set(names)
