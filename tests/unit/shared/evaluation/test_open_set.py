"""Identification among strangers: counted by hand, and on an LFW of six people and two guests."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from command_line.evaluate import app
from shared.errors import InvalidInput
from shared.evaluation.lfw import Lfw, evaluate_lfw
from shared.evaluation.names import OWN
from shared.evaluation.open_set import (
    CURVE,
    Searches,
    assign_roles,
    open_set_rows,
    score_searches,
    search,
)
from shared.evaluation.pipeline import Embedded, Pipeline, Vectors
from shared.evaluation.rows import OpenSetRow
from shared.model_directory import ModelDirectory
from tests.lfw_strangers import add_strangers
from tests.tiny_lfw import PHOTOS, write_lfw

INF = float("inf")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_strangers(write_lfw(tmp_path_factory.mktemp("data")), count=2)


@pytest.fixture(scope="module")
def lfw(data: Path, tiny_model: ModelDirectory) -> Lfw:
    """With so much noise on all embeddings that people are mistaken for others now and then."""
    torch.set_num_threads(1)
    _, faces = evaluate_lfw(tiny_model, Pipeline(tiny_model), data)
    random = np.random.default_rng(0)
    noisy = {form: blurred(vectors, random) for form, vectors in faces.embedded.own.items()}
    return replace(faces, embedded=Embedded({OWN: noisy}, faces.embedded.map_bytes))


def blurred(vectors: Vectors, random: np.random.Generator) -> Vectors:
    noisy = (vectors + random.normal(0, 0.12, vectors.shape)).astype(np.float32)
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    return noisy


def at_angles(*degrees: float) -> NDArray[np.float32]:
    """Unit vectors in the plane."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def cosine(degrees: float) -> float:
    return float(np.cos(np.radians(degrees)))


def searches(identified: list[float], strangers: list[float], mates: list[int]) -> Searches:
    return Searches(
        identified=np.array(identified, np.float32),
        mates=np.array(mates),
        strangers=np.array(strangers, np.float32),
        subjects=max(mates) + 1,
    )


def score(searched: Searches) -> OpenSetRow:
    return score_searches(searched, judge="own", probe="standard", enrolled="standard", draws=200)


def test_the_first_photograph_is_enrolled_and_single_ones_are_strangers() -> None:
    roles = assign_roles(np.array([0, 0, 0, 1, 2, 2, 3]))
    assert roles.enrolled.tolist() == [0, 4]
    assert roles.mated.tolist() == [1, 2, 5]
    assert roles.mates.tolist() == [0, 0, 1]
    assert roles.strangers.tolist() == [3, 6]


@pytest.mark.parametrize("people", [[0, 0, 1, 1], [0, 1, 2]])
def test_without_strangers_or_without_subjects_nothing_can_be_measured(people: list[int]) -> None:
    with pytest.raises(InvalidInput, match="people with one") as refusal:
        assign_roles(np.array(people))
    assert refusal.value.reason == "NOT_AN_OPEN_SET"


def test_a_probe_counts_only_if_its_own_subject_is_ahead_of_all_others() -> None:
    """Subjects at 0 and 90 degrees; the first's probes at 10, 45 (a tie) and 80 degrees."""
    roles = assign_roles(np.array([0, 0, 0, 0, 1, 1, 2, 3]))
    probes = at_angles(5, 10, 45, 80, 120, 70, 30, 180)
    enrolled = at_angles(0, 1, 2, 3, 90, 4, 5, 6)
    found = search(probes, enrolled, roles)
    assert found.identified == pytest.approx([cosine(10), -INF, -INF, cosine(20)], abs=1e-6)
    assert found.mates.tolist() == [0, 0, 0, 1]
    assert found.strangers == pytest.approx([cosine(30), cosine(90)], abs=1e-6)
    assert found.subjects == 2


def test_misses_are_counted_above_the_strangers_who_may_not_pass() -> None:
    """Of 200 strangers two may pass at 1e-2 and none at 1e-3: thresholds above 0.6 and 0.8."""
    strangers = [0.8, 0.7, 0.6] + [0.1] * 197
    row = score(searches([0.9, 0.75, 0.65, 0.6, 0.3, -INF], strangers, [0, 0, 0, 1, 1, 2]))
    assert (row.subjects, row.mated_probes, row.non_mated_probes) == (3, 6, 200)
    assert row.rank1 == pytest.approx(5 / 6)
    assert row.fnir_at_fpir_1e2 == pytest.approx(3 / 6)
    assert row.fnir_at_fpir_1e3 == pytest.approx(5 / 6)
    curve = {point.fpir: point.fnir for point in row.curve}
    assert tuple(curve) == CURVE
    assert curve[5e-3] == pytest.approx(4 / 6)  # one may pass
    assert curve[2e-2] == pytest.approx(1 / 6)


def test_a_threshold_that_one_stranger_decides_is_unsure() -> None:
    """A third of bootstrap samples lack the one stranger who stands in everybody's way."""
    row = score(searches([0.5, 0.5, 0.5], [0.6] + [0.1] * 99, [0, 1, 2]))
    assert row.fnir_at_fpir_1e3 == 1
    assert row.fnir_at_fpir_1e3_interval == (0, 1)
    assert row.rank1_interval == (1, 1)


def test_probes_of_one_subject_are_drawn_together() -> None:
    """Two subjects with fifty probes each, of whom one is never found."""
    row = score(searches([0.9] * 50 + [-INF] * 50, [0.1, 0.2], [0] * 50 + [1] * 50))
    assert row.rank1 == 0.5
    assert row.rank1_interval == (0, 1)


def test_every_form_is_searched_among_itself_the_usual_one_and_crops(
    tiny_model: ModelDirectory, lfw: Lfw
) -> None:
    """Rates are recomputed here, one probe at a time."""
    rows = {(row.probe, row.enrolled): row for row in open_set_rows(tiny_model, lfw)}
    assert list(rows) == [
        ("uncompressed", "uncompressed"),
        ("standard", "standard"),
        ("standard", "uncompressed"),
        ("paper", "paper"),
        ("paper", "standard"),
        ("paper", "uncompressed"),
    ]
    for (probe, enrolled), row in rows.items():
        vectors = lfw.embedded.own[probe]
        gallery = lfw.embedded.own[enrolled][: 6 * PHOTOS : PHOTOS]
        nearest = [gallery @ vector for vector in vectors]
        highest_stranger = max(nearest[-2].max(), nearest[-1].max())
        first, passed = 0, 0
        for photograph, similarities in enumerate(nearest[: 6 * PHOTOS]):
            person, number = divmod(photograph, PHOTOS)
            if number and similarities.argmax() == person:
                first += 1
                passed += bool(similarities[person] > highest_stranger)
        assert (row.subjects, row.mated_probes, row.non_mated_probes) == (6, 18, 2)
        assert row.rank1 == pytest.approx(first / 18)
        assert row.fnir_at_fpir_1e3 == pytest.approx(1 - passed / 18)
    assert len({row.rank1 for row in rows.values()}) > 1
    assert any(row.fnir_at_fpir_1e3 > 1 - row.rank1 for row in rows.values())


def test_a_single_point_is_searched_where_it_can_be(tiny_model: ModelDirectory, data: Path) -> None:
    _, lfw = evaluate_lfw(tiny_model, Pipeline(tiny_model, ["paper"]), data)
    rows = open_set_rows(tiny_model, lfw)
    assert [(row.probe, row.enrolled) for row in rows[1:]] == [
        ("paper", "paper"),
        ("paper", "uncompressed"),
    ]


def test_the_command_prints_the_table_and_records_the_run(
    tiny_models: Path, data: Path, tmp_path: Path
) -> None:
    options = {
        "data": data,
        "models": tiny_models,
        "cache": tmp_path / "kept",
        "report": tmp_path,
        "threads": 1,
    }
    ran = CliRunner().invoke(app, ["open-set", *(f"--{k}={v}" for k, v in options.items())])
    assert ran.exit_code == 0, ran.output
    assert "6 subjects enrolled with one photograph each, 18 other" in ran.stdout
    assert "FNIR at FPIR 1e-2" in ran.stdout
    (run,) = map(json.loads, (tmp_path / "lfw_runs.jsonl").read_text().splitlines())
    assert run["images"] == 26
    assert not (tmp_path / "results.json").exists()
