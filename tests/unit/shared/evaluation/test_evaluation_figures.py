"""Figures of the report one by one: intervals, strangers, Kodak's pictures, the slice for CI."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared.errors import FailedPrecondition
from shared.evaluation.bootstrap import accuracy_difference
from shared.evaluation.cache import Cache
from shared.evaluation.calibration_check import check_calibration, count_strangers
from shared.evaluation.kodak import evaluate_kodak
from shared.evaluation.measurements import Measurement, differences
from shared.evaluation.rows import Row, SliceRow, read_results
from shared.evaluation.slices import disagreements, measure_slices
from shared.model_directory import ModelDirectory
from tests.tiny_lfw import clouds

REPORT = Path("report/results.json")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_equal_codecs_differ_by_nothing() -> None:
    right = np.arange(100) % 3 > 0
    people = np.stack([np.arange(100), (np.arange(100) + 1) % 100], axis=1)
    interval = accuracy_difference(right, right, people)
    assert (interval.difference, interval.low, interval.high) == (0, 0, 0)


def test_an_interval_of_independent_pairs_is_that_of_the_binomial() -> None:
    """Genuine pairs of 2,000 people: 1 % gained, so +- 1.96 sqrt(0.01 * 0.99 / 2000)."""
    people = np.repeat(np.arange(2000)[:, np.newaxis], 2, axis=1)
    right, other = np.ones(2000, bool), np.arange(2000) % 100 > 0
    interval = accuracy_difference(right, other, people)
    assert interval.difference == pytest.approx(0.01)
    assert interval.low == pytest.approx(0.01 - 0.00436, abs=0.0008)
    assert interval.high == pytest.approx(0.01 + 0.00436, abs=0.0008)


def test_pairs_of_one_person_make_an_interval_wider() -> None:
    """The same gain, all of it by two people who are in ten pairs each."""
    alone = np.repeat(np.arange(1000)[:, np.newaxis], 2, axis=1)
    crowded = alone // 10
    right, other = np.ones(1000, bool), np.arange(1000) >= 20
    widths = [
        accuracy_difference(right, other, people).high
        - accuracy_difference(right, other, people).low
        for people in (alone, crowded)
    ]
    assert widths[1] > 2 * widths[0]


def a_measurement(judge: str, codec: str, *, right: int, point: str = "standard") -> Measurement:
    """A codec that tells the first so many of 200 pairs right."""
    row = Row(
        dataset="lfw",
        protocol="",
        codec=codec,
        operating_point=point,
        model="default/1",
        bytes_mean=321.0,
        judge=judge,
        accuracy=right / 200,
        std=0.0,
        tar_at_far_1e3=0.0,
        command="",
        commit="",
        weights_sha256="",
        samples=200,
        images=400,
    )
    return Measurement(row, np.arange(200) < right)


def test_a_rival_is_judged_by_whichever_of_our_extractors_favours_it() -> None:
    measurements = [
        a_measurement("own", "none", right=196, point=""),
        a_measurement("own", "compactface", right=190),
        a_measurement("unseen", "none", right=198, point=""),
        a_measurement("unseen", "compactface", right=188),
        a_measurement("reference", "none", right=199, point=""),
        a_measurement("reference", "compactface", right=100),
        a_measurement("own", "AVIF", right=170),
        a_measurement("unseen", "AVIF", right=160),
        a_measurement("reference", "AVIF", right=180),
        a_measurement("own", "WebP", right=150),
        a_measurement("reference", "WebP", right=140),
        a_measurement("own", "WebP", right=195, point="fine"),
    ]
    people = np.repeat(np.arange(200)[:, np.newaxis], 2, axis=1)
    rows = differences(measurements, people, model="default/1")
    points = {(row.judge, row.other, row.other_judge): 200 * row.difference for row in rows}
    assert points == pytest.approx(
        {
            ("own", "uncompressed", "own"): -6,
            ("own", "A, uncompressed", "reference"): -9,
            ("own", "AVIF, file", "reference"): 10,
            ("own", "WebP, file", "own"): 40,
            ("unseen", "uncompressed", "unseen"): -10,
            ("unseen", "AVIF, file", "unseen"): 28,
        }
    )
    assert all(row.low <= row.difference <= row.high for row in rows)


def test_every_pair_of_strangers_is_counted_once() -> None:
    random = np.random.default_rng(0)
    people = np.sort(random.integers(200, size=700))
    probe, enrolled = (unit(random.normal(size=(700, 16))) for _ in range(2))
    thresholds = np.array([0.2, 0.5], np.float32)
    reached, pairs = count_strangers(probe, enrolled, people, thresholds)

    cosines = probe @ enrolled.T
    strangers = [cosines[i, j] for i in range(700) for j in range(i) if people[i] != people[j]]
    later = np.array(
        [cosines[j, i] for i in range(700) for j in range(i) if people[i] != people[j]]
    )
    assert pairs == len(strangers)
    assert reached.tolist() == [int((later >= threshold).sum()) for threshold in (0.2, 0.5)]


def test_thresholds_are_those_of_the_manifest(tiny_model: ModelDirectory) -> None:
    """Vectors of two numbers: cosines of strangers are cosines of differences of angles."""
    random = np.random.default_rng(0)
    angles = random.uniform(0, np.pi, (3, 900))
    forms = ("uncompressed", "standard", "paper")
    vectors = {
        form: np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        for form, angle in zip(forms, angles, strict=True)
    }
    rows = check_calibration(tiny_model, vectors, np.arange(900))
    assert len(rows) == 6 * 3
    assert {row.pairs for row in rows} == {900 * 899 // 2}
    for row in rows:
        assert row.threshold == pytest.approx({1e-2: 0.4, 1e-3: 0.6, 1e-4: 0.7}[row.fmr])
        within = 2 * np.arccos(row.threshold) / np.pi  # of a triangular distribution
        assert row.measured == pytest.approx(within - within**2 / 4, abs=0.02)
        assert row.ratio == row.measured / row.fmr


def test_pictures_of_any_size_are_cut_into_crops(
    tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    """405 x 403 pixels take 4 x 5 crops of 112 x 96."""
    Image.fromarray(clouds(1, height=405, width=403)).save(tmp_path / "01.png")
    Image.fromarray(clouds(2, height=80, width=64)).save(tmp_path / "08.png")
    seen: list[tuple[int, int]] = []
    rows, (shown,) = evaluate_kodak(
        tiny_model, tmp_path, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 2), (2, 2)]
    assert shown.original.shape == (80, 64, 3)
    assert {one.picture.shape for one in shown.renditions} == {(80, 64, 3)}

    by_name = {
        row.operating_point if row.codec == "compactface" else row.codec: row for row in rows
    }
    assert [row.images for row in rows] == [2] * len(rows)
    maps = (1 / (80 * 64) + 20 / (405 * 403)) / 2
    assert 8 * 69 * maps < by_name["standard"].bits_per_pixel <= 8 * (69 + 252) * maps
    assert by_name["standard"].bits_per_pixel < by_name["paper"].bits_per_pixel
    assert by_name["paper"].psnr > by_name["standard"].psnr > 15
    (jpeg2000,) = (one for one in shown.renditions if one.codec == "JPEG2000")
    (ours,) = (
        one
        for one in shown.renditions
        if one.operating_point == "standard" and one.codec == "compactface"
    )
    assert jpeg2000.bits_per_pixel <= ours.bits_per_pixel
    error = np.mean((shown.original.astype(float) - jpeg2000.picture) ** 2)
    assert jpeg2000.psnr == pytest.approx(10 * np.log10(255**2 / error))
    for _ in range(2):  # computed, then read
        kept, _ = evaluate_kodak(tiny_model, tmp_path, cache=Cache(tmp_path / "kept"))
        assert kept == rows


def test_a_folder_without_pictures_is_named(tiny_model: ModelDirectory, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="no PNG or WebP files"):
        evaluate_kodak(tiny_model, tmp_path)


def a_slice(**changes: object) -> SliceRow:
    fields = {
        "form": "standard",
        "weights_sha256": "0" * 64,
        "pairs": 600,
        "images": 1100,
        "bytes_mean": 321.0,
        "threshold": 0.3,
        "accuracy": 0.95,
        "genuine": 0.6,
        "impostor": 0.01,
    }
    return SliceRow.model_validate(fields | changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, None),
        ({"accuracy": 0.95 + 1 / 600}, None),
        ({"accuracy": 0.95 + 2 / 600}, "accuracy 0.9533; the report says 0.9500"),
        ({"bytes_mean": 322.0}, "322.00 bytes a face; the report says 321.00"),
        ({"genuine": 0.61}, "mean genuine similarity 0.6100; the report says 0.6000"),
        ({"images": 1099}, "600 pairs of 1099 images, not those of the report"),
    ],
)
def test_only_what_rounding_cannot_explain_is_a_disagreement(
    changes: dict[str, object], complaint: str | None
) -> None:
    found = list(disagreements(a_slice(), a_slice(**changes)))
    assert found == ([complaint] if complaint else [])


@pytest.mark.timeout(600)
def test_the_committed_report_holds_on_the_first_fold_of_lfw() -> None:
    """A minute on two cores: what `compactface evaluate check` does."""
    data = os.environ.get("COMPACTFACE_DATA")
    if not data:
        pytest.skip("COMPACTFACE_DATA names no folder with lfw112/")
    torch.set_num_threads(os.cpu_count() or 1)
    committed = read_results(REPORT)
    model = ModelDirectory.load(Path("deploy/models"), "default")
    measured = measure_slices(model, committed, Path(data), threads=os.cpu_count() or 1)
    for said, found in zip(committed.slices, measured, strict=True):
        assert list(disagreements(said, found)) == []
