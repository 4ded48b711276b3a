import math

import pytest

from recognizer_service.core.thresholds import Thresholds, check_criterion
from recognizer_service.core.types import Criterion
from shared.errors import FailedPrecondition, InvalidInput
from shared.model_directory import ModelDirectory

STRANGE = ("0" * 16, "f" * 16)


@pytest.fixture
def thresholds(tiny_model: ModelDirectory) -> Thresholds:
    return Thresholds(tiny_model.manifest)


@pytest.fixture
def codecs(tiny_model: ModelDirectory) -> tuple[str, str]:
    return tiny_model.codec("standard").codec_id, tiny_model.codec("paper").codec_id


@pytest.mark.parametrize(
    ("criterion", "field"),
    [
        *((Criterion(max_rate=rate), "threshold.max_fpir") for rate in (math.nan, 0, 1, -1e-9)),
        *(
            (Criterion(min_similarity=similarity), "threshold.min_similarity")
            for similarity in (math.nan, -1.001, 1.001, math.inf)
        ),
    ],
)
def test_impossible_thresholds_are_refused_naming_field_and_value(
    criterion: Criterion, field: str
) -> None:
    with pytest.raises(InvalidInput, match="it must be in") as caught:
        check_criterion(criterion, rate_name="max_fpir")
    assert (caught.value.reason, caught.value.field) == ("INVALID_THRESHOLD", field)


@pytest.mark.parametrize(
    "criterion",
    [
        Criterion(),
        Criterion(max_rate=1e-12),
        Criterion(max_rate=0.999),
        Criterion(min_similarity=-1),
        Criterion(min_similarity=1),
    ],
)
def test_possible_thresholds_pass(criterion: Criterion) -> None:
    check_criterion(criterion, rate_name="max_fmr")


def test_one_comparison_is_made_at_the_rate_itself(
    thresholds: Thresholds, codecs: tuple[str, str]
) -> None:
    applied = thresholds.applied(Criterion(max_rate=1e-3), default_rate=0.5, faces=1, codecs=codecs)
    assert applied.similarity == pytest.approx(0.6)
    assert applied.fmr == pytest.approx(1e-3)
    assert (applied.calibrated, applied.extrapolated) == (True, False)


def test_a_search_of_n_faces_is_stricter_by_the_nth_root(
    thresholds: Thresholds, codecs: tuple[str, str]
) -> None:
    applied = thresholds.applied(
        Criterion(max_rate=0.01), default_rate=0.5, faces=10_000, codecs=codecs
    )
    assert (1 - applied.fmr) ** 10_000 == pytest.approx(0.99)
    assert applied.similarity > 0.8
    assert applied.faces == 10_000


def test_without_a_criterion_the_default_rate_holds(
    thresholds: Thresholds, codecs: tuple[str, str]
) -> None:
    applied = thresholds.applied(Criterion(), default_rate=1e-2, faces=1, codecs=codecs)
    assert applied.similarity == pytest.approx(0.4)


def test_no_faces_count_as_one(thresholds: Thresholds, codecs: tuple[str, str]) -> None:
    applied = thresholds.applied(Criterion(), default_rate=1e-2, faces=0, codecs=codecs)
    assert (applied.faces, applied.fmr) == (1, pytest.approx(1e-2))


def test_a_given_similarity_is_taken_as_it_is_with_its_rate_estimated(
    thresholds: Thresholds, codecs: tuple[str, str]
) -> None:
    applied = thresholds.applied(
        Criterion(min_similarity=0.7), default_rate=0.5, faces=7, codecs=codecs
    )
    assert (applied.similarity, applied.faces, applied.calibrated) == (0.7, 7, False)
    assert applied.fmr == pytest.approx(1e-4)


def test_beyond_the_table_the_estimate_is_extrapolated(
    thresholds: Thresholds, codecs: tuple[str, str]
) -> None:
    assert thresholds.fmr_at(0.85, codecs)[1] is False
    fmr, extrapolated = thresholds.fmr_at(0.95, codecs)
    assert fmr is not None
    assert 0 < fmr < 1e-6
    assert extrapolated


def test_an_uncalibrated_pair_needs_a_similarity(thresholds: Thresholds) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        thresholds.applied(Criterion(), default_rate=0.01, faces=1, codecs=STRANGE)
    assert caught.value.reason == "NOT_CALIBRATED"
    applied = thresholds.applied(
        Criterion(min_similarity=0.5), default_rate=0.01, faces=1, codecs=STRANGE
    )
    assert (applied.similarity, applied.fmr, applied.extrapolated) == (0.5, None, False)
    assert thresholds.fmr_at(0.5, STRANGE) == (None, False)


def test_a_given_similarity_holds_for_every_codec(
    thresholds: Thresholds, codecs: tuple[str, str]
) -> None:
    found = thresholds.by_codec(
        Criterion(min_similarity=0.4), default_rate=0.01, faces=7, probe_codec=codecs[0]
    )
    assert (found.of_codec, found.others) == ({}, 0.4)


def test_a_rate_asks_each_codec_for_its_own_similarity(
    thresholds: Thresholds, codecs: tuple[str, str]
) -> None:
    asked = {"default_rate": 0.01, "faces": 7}
    found = thresholds.by_codec(Criterion(max_rate=0.02), probe_codec=codecs[0], **asked)
    applied = thresholds.applied(Criterion(max_rate=0.02), codecs=codecs, **asked)
    assert found.of_codec[codecs[1]] == applied.similarity
    assert found.others is None
