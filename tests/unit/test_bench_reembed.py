"""The benchmark of a change of model, rehearsed on six people and models trained on nothing."""

from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from shared.model_directory import ModelDirectory
from tests.benchmarks.bench_reembed import Version, change_model, main, photographs
from tests.benchmarks.gallery_report import Origin
from tests.lfw_strangers import add_strangers
from tests.tiny_lfw import photos, write_lfw
from tests.tiny_model import FAMILY, write_tiny_model

app = typer.Typer()
app.command()(main)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1; 2 with its codecs and another extractor; 3 with other codecs, too."""
    folder = tmp_path_factory.mktemp("models")
    for version, seed, extractor_seed in (("1", 1, 1), ("2", 1, 2), ("3", 30, 2)):
        scratch = tmp_path_factory.mktemp("scratch")
        write_tiny_model(folder, scratch, version=version, seed=seed, extractor_seed=extractor_seed)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_strangers(write_lfw(tmp_path_factory.mktemp("data")), count=1)


def version(models: Path, name: str) -> Version:
    torch.set_num_threads(1)
    return Version(ModelDirectory.load(models, FAMILY, name))


def test_everybody_with_two_photographs_gives_the_first_two(data: Path) -> None:
    enrolled, asked = photographs(data, 1000)
    assert enrolled.tolist() == photos()[::4, :, 8:104].tolist()
    assert asked.tolist() == photos()[1::4, :, 8:104].tolist()
    assert len(photographs(data, 4)[0]) == 4


def test_maps_of_the_same_codec_serve_as_well_as_new_ones(
    models: Path, data: Path, tmp_path: Path
) -> None:
    one, two = version(models, "1"), version(models, "2")
    change = change_model(tmp_path, one, two, *photographs(data, 6), origin=Origin.here())
    before, after, enrolled_anew = change.rows
    assert before.rank1 == before.tar_at_far_1e3 == 1
    assert after.rank1 == enrolled_anew.rank1
    assert after.tar_at_far_1e3 == enrolled_anew.tar_at_far_1e3


def test_people_who_are_confused_are_counted(models: Path, data: Path, tmp_path: Path) -> None:
    """Two of six ask with each other's face."""
    enrolled, asked = photographs(data, 6)
    asked = asked[[1, 0, 2, 3, 4, 5]]
    one, three = version(models, "1"), version(models, "3")
    change = change_model(tmp_path, one, three, enrolled, asked, origin=Origin.here())
    before, after, _ = change.rows
    assert before.rank1 == after.rank1 == pytest.approx(4 / 6)
    assert before.tar_at_far_1e3 < 1


def test_the_command_reports_both_accuracies_and_the_rate(
    models: Path, data: Path, tmp_path: Path
) -> None:
    arguments = [f"--data={data}", f"--models={models}", "--subjects=4", "--before=1", "--after=3"]
    ran = CliRunner().invoke(app, [*arguments, f"--report={tmp_path}"])
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.count("100.00") == 6
    assert "4 faces embedded anew" in ran.stdout
    text = (tmp_path / "gallery.md").read_text(encoding="utf-8")
    assert text.count("| 1.000 | 1.000 |") == 3
    assert "4 faces were embedded anew" in text


def test_versions_of_one_extractor_leave_nothing_to_measure(models: Path, data: Path) -> None:
    ran = CliRunner().invoke(
        app, [f"--data={data}", f"--models={models}", "--before=2", "--after=3"]
    )
    assert ran.exit_code == 2
    assert "extractor" in ran.output
