"""The program encrypts a gallery, changes its key, and works on it with the key."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from command_line.main import app
from recognizer_service.gallery.gallery import Gallery
from shared.model_directory import ModelDirectory
from tests.ciphered import KEY, OTHER_KEY, encrypted, key_file
from tests.gallery_faces import person

NAME = "Zebedee Quillfeather"


@pytest.fixture
def space(tiny_models: Path) -> str:
    return ModelDirectory.load(tiny_models, "default").manifest.embedding_space


@pytest.fixture
def gallery(tmp_path: Path, space: str) -> Path:
    """A plain gallery with one person."""
    path = tmp_path / "gallery" / "people.sqlite"
    with Gallery(path, embedding_space=space, embedding_size=512) as opened:
        opened.enroll("default", person(1, name=NAME))
    return path


def program(*arguments: object, environment: dict[str, str] | None = None) -> Result:
    words = ["gallery", *map(str, arguments)]
    return CliRunner().invoke(app, words, env=environment)


def done(*arguments: object, **options: Any) -> str:
    result = program(*arguments, **options)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_gallery_is_encrypted_checked_copied_rekeyed_and_decrypted(
    gallery: Path, tmp_path: Path, tiny_models: Path
) -> None:
    first, second = key_file(tmp_path), key_file(tmp_path, OTHER_KEY, name="second")
    where = ("--gallery", gallery, "--gallery-key")
    assert f"encrypted {gallery}" in done("encrypt", *where, first)
    assert NAME.encode() not in gallery.read_bytes()
    models = ("--models", tiny_models)
    assert "1 subjects, 1 faces, no problems" in done("check", *where, first, *models)
    copy = tmp_path / "copy.sqlite"
    done("snapshot", copy, *where, first)
    assert NAME.encode() not in copy.read_bytes()
    assert "changed the key" in done("rekey", "--new-key", second, *where, first)
    for command in (("check", *models), ("decrypt",), ("snapshot", tmp_path / "x")):
        refused = program(*command, *where, first)
        assert refused.exit_code == 1
        assert "STORAGE_KEY_WRONG" in refused.output
    assert "decrypted" in done("decrypt", *where, second)
    assert NAME.encode() in gallery.read_bytes()
    assert "no problems" in done("check", "--gallery", gallery, *models)


def test_the_key_may_come_from_the_recognizers_variable(gallery: Path, space: str) -> None:
    variables = {"COMPACTFACE_RECOGNIZER_GALLERY_KEY": "env:PEOPLE", "PEOPLE": KEY.secret.hex()}
    done("encrypt", "--gallery", gallery, environment=variables)
    with Gallery(encrypted(gallery), embedding_space=space, embedding_size=512) as opened:
        assert opened.check().faces == 1


@pytest.mark.parametrize("command", [("encrypt",), ("decrypt",), ("rekey", "--new-key", "env:K")])
def test_a_missing_or_mistaken_key_is_a_usage_error(gallery: Path, command: tuple[str]) -> None:
    before = gallery.read_bytes()
    missing = program(*command, "--gallery", gallery)
    assert (missing.exit_code, "--gallery-key" in missing.output) == (2, True)
    mistaken = program(*command, "--gallery", gallery, "--gallery-key", KEY.secret.hex())
    assert mistaken.exit_code == 2
    assert KEY.secret.hex() not in mistaken.output
    assert gallery.read_bytes() == before


def test_a_gallery_is_not_encrypted_twice_nor_while_it_is_served(
    gallery: Path, tmp_path: Path, space: str
) -> None:
    key = key_file(tmp_path)
    with Gallery(gallery, embedding_space=space, embedding_size=512):
        served = program("encrypt", "--gallery", gallery, "--gallery-key", key)
    assert "GALLERY_IN_USE" in served.output
    done("encrypt", "--gallery", gallery, "--gallery-key", key)
    again = program("encrypt", "--gallery", gallery, "--gallery-key", key)
    assert (again.exit_code, "GALLERY_ENCRYPTED" in again.output) == (1, True)
