"""`--local`: the command line without any service."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from command_line.demo.processes import running_services
from command_line.main import app
from tests.tiny_model import write_tiny_model

PHOTOS = Path(__file__).parents[1] / "data"
OBAMA = PHOTOS / "barack_obama_portrait_2012.jpg"
COLLINS = PHOTOS / "eileen_collins_portrait.jpg"


@pytest.fixture
def run(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command with --local in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("COMPACTFACE_RECOGNIZER_")]:
        monkeypatch.delenv(name)

    def run(*words: object) -> Result:
        arguments = [*map(str, words), "--local", "--models", str(tiny_models)]
        result = CliRunner().invoke(app, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_two_photos_are_verified_and_nothing_is_left_behind(run: Any, tmp_path: Path) -> None:
    same = json.loads(run("verify", OBAMA, OBAMA, "--json").stdout)
    assert same["decision"] == "VERIFY_DECISION_MATCH"
    other = run("verify", OBAMA, COLLINS, "--json", "--min-similarity", "0.9999")
    assert json.loads(other.stdout)["decision"] == "VERIFY_DECISION_NO_MATCH"
    assert list(tmp_path.iterdir()) == []


def test_who_was_enrolled_is_identified(run: Any, tmp_path: Path) -> None:
    gallery = ("--gallery", tmp_path / "people.sqlite")
    enrolled = run("enroll", "obama", OBAMA, *gallery)
    assert enrolled.exit_code == 0, enrolled.output
    (answer,) = json.loads(run("identify", OBAMA, "--json", *gallery).stdout)
    assert answer["decision"] == "IDENTIFY_DECISION_MATCH"
    assert answer["candidates"][0]["subject_id"] == "obama"
    named = run("verify", OBAMA, "--subject", "obama", "--json", *gallery)
    assert json.loads(named.stdout)["decision"] == "VERIFY_DECISION_MATCH"


def test_the_gallery_is_that_of_the_service_where_none_is_named(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("enroll", "obama", OBAMA).exit_code == 0
    assert (tmp_path / "gallery.sqlite").is_file()
    monkeypatch.setenv("COMPACTFACE_RECOGNIZER_GALLERY", str(tmp_path / "other.sqlite"))
    assert run("enroll", "obama", OBAMA).exit_code == 0
    assert (tmp_path / "other.sqlite").is_file()


def test_a_gallery_of_an_earlier_model_says_what_to_do(tmp_path: Path) -> None:
    models, gallery = tmp_path / "models", tmp_path / "people.sqlite"
    options = ["--models", str(models), "--gallery", str(gallery)]

    def told(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, *options])

    write_tiny_model(models, tmp_path / "one", version="1", seed=1)
    assert told("enroll", "obama", str(OBAMA), "--local").exit_code == 0
    write_tiny_model(models, tmp_path / "two", version="2", seed=2)
    refused = told("identify", str(OBAMA), "--local")
    assert refused.exit_code != 0
    assert "default/1" in refused.stderr
    assert "gallery reembed" in refused.stderr
    assert told("gallery", "reembed").exit_code == 0
    assert "gallery reembed" not in told("identify", str(OBAMA), "--local").stderr


@pytest.mark.parametrize("words", [["identify", OBAMA], ["verify", OBAMA, "--subject", "obama"]])
def test_a_gallery_that_is_asked_about_is_not_made(
    run: Any, words: list[object], tmp_path: Path
) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "gallery.sqlite" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [["--recognizer", "127.0.0.1:1"], ["--encoder", "127.0.0.1:1"], ["--ca", OBAMA]],
)
def test_services_and_no_services_exclude_each_other(run: Any, options: list[object]) -> None:
    result = run("verify", OBAMA, OBAMA, *options)
    assert result.exit_code == 2
    assert options[0] in result.stderr


def test_a_gallery_of_ones_own_needs_local() -> None:
    result = CliRunner().invoke(app, ["identify", str(OBAMA), "--gallery", "people.sqlite"])
    assert result.exit_code == 2
    assert "--local" in result.stderr


def test_a_gallery_that_a_service_has_open_is_refused_in_one_line(
    run: Any, tiny_models: Path, tmp_path: Path
) -> None:
    gallery = tmp_path / "gallery.sqlite"
    with running_services(
        models=tiny_models, family="default", gallery=gallery, collection="default", logs=tmp_path
    ):
        result = run("identify", OBAMA)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert str(gallery.name) in result.stderr
