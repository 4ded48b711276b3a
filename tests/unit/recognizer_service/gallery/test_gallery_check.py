"""What a check of a gallery's file proves, and what it finds."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from command_line.main import app
from recognizer_service.gallery.gallery import Gallery
from shared.model_directory import ModelDirectory
from tests.gallery_faces import person


@pytest.fixture
def path(tmp_path: Path, tiny_model: ModelDirectory) -> Path:
    """A gallery of three subjects with five faces, served by nobody."""
    path = tmp_path / "gallery.sqlite"
    with Gallery(path, embedding_space=tiny_model.manifest.embedding_space) as gallery:
        for seeds in ((1, 2), (3, 4), (5,)):
            gallery.enroll("default", person(*seeds))
    return path


@pytest.fixture
def check(path: Path, tiny_models: Path) -> Callable[[], Result]:
    """Runs the command."""
    words = ["gallery", "check", "--gallery", str(path), "--models", str(tiny_models)]
    return lambda: CliRunner().invoke(app, words)


def change(path: Path, statement: str, *values: object) -> None:
    """Change the file past the gallery's own code."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement, values)
        connection.commit()


def test_a_whole_gallery_is_said_to_be_whole(check: Callable[[], Result]) -> None:
    result = check()
    assert result.exit_code == 0
    assert "3 subjects, 5 faces, no problems" in result.output


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("DELETE FROM faces WHERE key = 2", "counts 5 faces and holds 4"),
        ("UPDATE collections SET subject_count = 9", "counts 9 subjects and holds 3"),
        ("DELETE FROM subjects WHERE key = 1", "row 1 of faces points to a missing row"),
        ("INSERT INTO labels VALUES (77, 'crew')", "of labels points to a missing row"),
        (
            "UPDATE embeddings SET vector = zeroblob(2048) WHERE face_key = 3",
            "face 3 has an embedding of length 0, not 1",
        ),
        ("DELETE FROM embeddings WHERE face_key = 3", "EMBEDDINGS_MISSING: 1 faces"),
    ],
)
def test_what_is_wrong_is_said(
    check: Callable[[], Result], path: Path, statement: str, finding: str
) -> None:
    change(path, statement)
    result = check()
    assert result.exit_code == 1
    assert finding in result.stderr


def test_a_nan_in_an_embedding_is_found(check: Callable[[], Result], path: Path) -> None:
    change(path, "UPDATE embeddings SET vector = ?", b"\x00\x00\xc0\x7f" * 512)
    result = check()
    assert result.exit_code == 1
    assert result.stderr.count("has an embedding of length nan") == 5


def test_a_torn_file_is_one_finding_and_no_traceback(
    check: Callable[[], Result], path: Path
) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    result = check()
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "malformed" in result.stderr


def test_a_gallery_that_is_served_is_not_checked(
    check: Callable[[], Result], path: Path, tiny_model: ModelDirectory
) -> None:
    with Gallery(path, embedding_space=tiny_model.manifest.embedding_space):
        result = check()
    assert result.exit_code == 1
    assert result.stderr.startswith("GALLERY_IN_USE: ")
