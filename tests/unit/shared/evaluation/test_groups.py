"""Error rates by group of people."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from command_line.evaluate import app
from shared.evaluation.coded import Coder
from shared.evaluation.groups import grouped
from shared.evaluation.trust_records import Groups
from shared.model_directory import ModelDirectory
from shared.training.faces import load_faces
from shared.training.split import split_faces
from tests.tiny_lfw import photo
from tests.tiny_model import FAMILY

PEOPLE = 150


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """People of two groups and of a third that is too small, two photographs each."""
    torch.set_num_threads(1)
    folder = tmp_path / "faces"
    folder.mkdir()
    groups = ("nba", "ukmp")
    people = [f"{groups[number % 2]}_{number:03}" for number in range(PEOPLE)]
    people += [f"rap_{number}" for number in range(30)]
    people.sort()
    names = [f"{person}/{number}.webp" for person in people for number in range(2)]
    pixels = [photo(person, number) for person in range(len(people)) for number in range(2)]
    teacher = np.repeat(np.eye(len(people), dtype=np.float32), 2, axis=0)
    (folder / "names.json").write_text(json.dumps(names))
    np.save(folder / "faces.npy", np.stack(pixels))
    np.save(folder / "teacher.npy", np.stack([teacher, teacher], axis=1))
    np.save(folder / "yaw.npy", np.zeros(len(names), np.float32))
    return folder


def test_strangers_of_one_group_are_compared_at_the_threshold_for_everyone(
    tiny_models: Path, cache: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    asked = ["groups", "--cache", str(cache), "--models", str(tiny_models), "--threads", "1"]
    options = ["--kept", str(tmp_path / "kept"), "--report", str(report)]
    answer = CliRunner().invoke(app, [*asked, *options], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    found = Groups.model_validate_json((report / "groups.json").read_bytes())

    faces, model = load_faces(cache), ModelDirectory.load(tiny_models, FAMILY)
    held_out = split_faces(faces)
    owners = [faces.identities()[row] for row in held_out.validation]
    counts = {
        group: sum(name.startswith(group) for name in held_out.held_out)
        for group in ("nba", "ukmp", "rap")
    }
    assert counts["rap"] < 10 <= min(counts["nba"], counts["ukmp"])
    assert found.people == {
        "everyone": len(held_out.held_out),
        "nba": counts["nba"],
        "ukmp": counts["ukmp"],
        "others": counts["rap"],
    }
    coder = Coder(model)
    vectors = coder.code(faces.batches(held_out.validation, 32)).vectors
    table = model.manifest.calibration_for(coder.codec_id, coder.codec_id)
    for row in found.rows:
        group = {"everyone": "", "others": "rap"}.get(row.condition, row.condition)
        own = [at for at, name in enumerate(owners) if name.startswith(group)]
        reached = vectors[own] @ vectors[own].T >= table.threshold(row.fmr_asked).similarity
        people = np.array([owners[at] for at in own])
        strangers = people[:, None] != people[None]
        assert row.fmr_measured == pytest.approx(reached[strangers].mean())
        assert row.pairs == strangers.sum() // 2
        mates = np.arange(len(own)) ^ 1
        assert row.fnmr == pytest.approx(1 - reached[np.arange(len(own)), mates].mean())
    assert "| ukmp |" in (report / "groups.md").read_text()


def test_a_group_is_what_names_begin_with() -> None:
    people = [f"a_{number}_x" for number in range(10)] + ["b_1", "plain"]
    assert grouped(people) == ["a"] * 10 + ["others"] * 2
