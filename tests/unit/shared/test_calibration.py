"""Thresholds stand for the false match rates that brute force finds."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.calibration import CalibrationTable, calibrate, identification_fmr
from shared.errors import InvalidInput

PEOPLE, EACH, SIZE = 60, 5, 24


def _embeddings(seed: int, *, noise: float = 0.6) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Photographs of 60 people, 5 each, in no order: the people's directions and some noise."""
    people = np.random.default_rng(99).normal(size=(PEOPLE, SIZE))
    random = np.random.default_rng(seed)
    identities = np.random.default_rng(98).permutation(np.repeat(np.arange(PEOPLE), EACH))
    vectors = people[identities] + noise * random.normal(size=(len(identities), SIZE))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32), identities


@pytest.fixture(scope="module")
def table() -> CalibrationTable:
    embeddings, identities = _embeddings(0)
    return calibrate(embeddings, identities, probe_codec="a", enrolled_codec="a")


def _brute_force(
    probe: NDArray[np.float32], enrolled: NDArray[np.float32], identities: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Genuine and impostor similarities of all ordered pairs of different photographs."""
    similarity = probe @ enrolled.T
    same = identities[:, None] == identities
    return similarity[same & ~np.eye(len(identities), dtype=bool)], similarity[~same]


def test_one_codec_counts_each_pair_once_and_matches_brute_force(table: CalibrationTable) -> None:
    embeddings, identities = _embeddings(0)
    genuine, impostor = _brute_force(embeddings, embeddings, identities)
    assert table.identities == PEOPLE
    assert table.genuine_pairs == len(genuine) / 2 == PEOPLE * EACH * (EACH - 1) / 2
    assert table.impostor_pairs == len(impostor) / 2
    assert [row.fmr for row in table.rows] == [0.5, 1e-1, 1e-2, 1e-3]  # 44,250 pairs
    for row in table.rows:
        assert np.mean(impostor >= row.similarity) == pytest.approx(row.fmr, rel=0.03)
        assert np.mean(genuine < row.similarity) == pytest.approx(row.fnmr, abs=2e-3)


def test_two_codecs_count_both_directions() -> None:
    probe, identities = _embeddings(0)
    enrolled, _ = _embeddings(1, noise=0.3)
    table = calibrate(
        probe, identities, enrolled=enrolled, probe_codec="tiny", enrolled_codec="fine"
    )
    genuine, impostor = _brute_force(probe, enrolled, identities)
    assert (table.genuine_pairs, table.impostor_pairs) == (len(genuine), len(impostor))
    threshold = table.threshold(1e-3).similarity
    assert np.mean(impostor >= threshold) == pytest.approx(1e-3, rel=0.02)


def test_rows_lie_inside_their_intervals_and_rise(table: CalibrationTable) -> None:
    for row in table.rows:
        assert row.low < row.similarity < row.high
    similarities = [row.similarity for row in table.rows]
    assert similarities == sorted(similarities)


def test_intervals_are_those_of_resampled_people(table: CalibrationTable) -> None:
    """Drawing people again by hand, at FMR 1 %, gives much the same interval."""
    embeddings, identities = _embeddings(0)
    random = np.random.default_rng(7)
    rows_of = [np.nonzero(identities == person)[0] for person in range(PEOPLE)]
    thresholds = []
    for _ in range(100):
        drawn = random.integers(PEOPLE, size=PEOPLE)
        rows = np.concatenate([rows_of[person] for person in drawn])
        _, impostor = _brute_force(embeddings[rows], embeddings[rows], identities[rows])
        thresholds.append(np.quantile(impostor, 0.99))
    low, high = np.percentile(thresholds, [2.5, 97.5])
    row = table.rows[2]
    assert row.fmr == 1e-2
    width = high - low
    assert row.low == pytest.approx(low, abs=width / 4)
    assert row.high == pytest.approx(high, abs=width / 4)


def test_thresholds_beyond_the_data_are_flagged_and_stricter_than_brute_force() -> None:
    """The exponential tail of 300 photographs is checked against 45 times as many pairs."""
    few, identities = _embeddings(0)
    table = calibrate(few, identities, probe_codec="a", enrolled_codec="a")
    assert not table.threshold(1e-3).extrapolated
    beyond = table.threshold(2e-5)
    assert beyond.extrapolated
    random = np.random.default_rng(3)
    strangers = random.normal(size=(2000, SIZE)).astype(np.float32)
    strangers /= np.linalg.norm(strangers, axis=1, keepdims=True)
    similarity = (strangers @ strangers.T)[np.triu_indices(2000, 1)]
    assert 0 < np.mean(similarity >= beyond.similarity) <= 2e-5


@pytest.mark.parametrize("fmr", [0.9, 0.5, 0.07, 1e-3, 3e-5, 1e-6])
def test_fmr_at_is_the_inverse_of_threshold(table: CalibrationTable, fmr: float) -> None:
    threshold = table.threshold(fmr)
    back = table.fmr_at(threshold.similarity)
    assert threshold.fmr == fmr
    assert back.similarity == threshold.similarity
    assert back.fmr == pytest.approx(fmr, rel=1e-6)
    assert back.extrapolated == threshold.extrapolated


def test_a_higher_similarity_is_never_worth_less(table: CalibrationTable) -> None:
    worth = [table.fmr_at(float(s)).fmr for s in np.linspace(-1, 1, 401)]
    assert worth[0] == 1
    assert all(after < before for before, after in pairwise(worth))


def test_no_threshold_is_above_one(table: CalibrationTable) -> None:
    assert table.threshold(1e-300).similarity == 1


@pytest.mark.parametrize("fmr", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_rates_outside_their_range_are_refused(table: CalibrationTable, fmr: float) -> None:
    with pytest.raises(InvalidInput, match=r"must be in \(0, 1\)") as refused:
        table.threshold(fmr)
    assert refused.value.reason == "FMR_OUT_OF_RANGE"
    with pytest.raises(InvalidInput, match=r"must be in \(0, 1\)"):
        identification_fmr(fmr, 10)


def test_a_table_survives_json(table: CalibrationTable) -> None:
    assert CalibrationTable.model_validate_json(table.model_dump_json()) == table


def test_searching_many_faces_needs_a_stricter_comparison() -> None:
    assert identification_fmr(0.01, 1) == pytest.approx(0.01)
    fmr = identification_fmr(0.63, 10_000)
    assert fmr == pytest.approx(1e-4, rel=0.01)
    # Far below what 1 - (1 - x)^(1/n) resolves in double precision.
    assert identification_fmr(1e-12, 10**9) == pytest.approx(1e-21)


def test_calibration_takes_two_people_and_two_photographs_of_one() -> None:
    embeddings, _ = _embeddings(0)
    for identities in ([0, 0, 0], [0, 1, 2]):
        with pytest.raises(ValueError, match="identities"):
            calibrate(embeddings[:3], np.array(identities), probe_codec="a", enrolled_codec="a")
    three = calibrate(embeddings[:3], np.array([0, 0, 1]), probe_codec="a", enrolled_codec="a")
    assert (three.identities, three.genuine_pairs, three.impostor_pairs) == (2, 1, 2)
    assert [row.fmr for row in three.rows] == [0.5]


def test_a_genuine_pair_at_the_threshold_is_no_false_non_match() -> None:
    """Three equal photographs, of two people."""
    photos = np.eye(3, dtype=np.float32)[[0, 0, 0]]
    table = calibrate(photos, np.array([0, 0, 1]), probe_codec="a", enrolled_codec="a")
    assert [(row.similarity, row.fnmr) for row in table.rows] == [(1.0, 0.0)]


def test_an_eased_table_has_lower_thresholds(table: CalibrationTable) -> None:
    assert table.threshold(1e-3) == table.eased(()).threshold(1e-3)
    eased = table.eased(((1e-2, 0.01), (1e-3, 0.03)))
    less = {
        rate: table.threshold(rate).similarity - eased.threshold(rate).similarity
        for rate in (0.5, 1e-2, 10**-2.5, 1e-3, 1e-5)
    }
    assert less == pytest.approx({0.5: 0.01, 1e-2: 0.01, 10**-2.5: 0.02, 1e-3: 0.03, 1e-5: 0.03})
    assert eased.fmr_at(eased.threshold(1e-3).similarity).fmr == pytest.approx(1e-3)
