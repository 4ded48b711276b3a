"""A snapshot is the gallery at one moment, taken while it is served."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.rows import CONDEMNED_PREFIX
from recognizer_service.gallery.storage.sqlite_file import snapshot
from shared.errors import AlreadyExists, FailedPrecondition, NotFound
from tests.gallery_faces import SPACE, embedding, person


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


@pytest.fixture
def gallery(path: Path) -> Iterator[Gallery]:
    with Gallery(path, embedding_space=SPACE) as opened:
        yield opened


def test_a_snapshot_serves_as_the_gallery_did(gallery: Gallery, path: Path, tmp_path: Path) -> None:
    for seed in range(20):
        gallery.enroll("default", person(seed))
    target = tmp_path / "backup" / "monday.sqlite"
    target.parent.mkdir()
    assert snapshot(path, target) == target.stat().st_size
    assert [file.name for file in target.parent.iterdir()] == ["monday.sqlite"]
    gallery.enroll("default", person(99))
    with Gallery(target, embedding_space=SPACE) as restored:
        assert restored.search("default", embedding(7), count=1)[0].subject_id == "person-7"
        report = restored.check()
        assert (report.ok, report.faces, report.indexed) == (True, 20, 20)
        restored.enroll("default", person(100))


def test_snapshots_taken_while_people_come_and_go_are_sound(
    gallery: Gallery, path: Path, tmp_path: Path
) -> None:
    """Faces of one enrolment are in it all or not at all, and counts are true."""
    done = threading.Event()

    def come_and_go() -> None:
        number = 0
        while not done.is_set():
            gallery.enroll("default", person(3 * number, 3 * number + 1))
            if number % 4 == 3:
                gallery.subjects.delete("default", f"person-{3 * number - 3}")
            number += 1

    busy = threading.Thread(target=come_and_go)
    busy.start()
    try:
        for number in range(5):
            snapshot(path, tmp_path / f"{number}.sqlite")
    finally:
        done.set()
        busy.join()
    for number in range(5):
        with Gallery(tmp_path / f"{number}.sqlite", embedding_space=SPACE) as restored:
            report = restored.check()
            assert report.ok, report.problems
            assert report.faces == 2 * report.subjects


def test_nothing_deleted_is_in_a_snapshot(gallery: Gallery, path: Path, tmp_path: Path) -> None:
    doomed = person(1, subject_id="zq-1883", name="Zebedee Quillfeather")
    gallery.enroll("default", doomed)
    gallery.enroll("default", person(2))
    gallery.subjects.delete("default", "zq-1883")
    snapshot(path, tmp_path / "copy.sqlite")
    content = (tmp_path / "copy.sqlite").read_bytes()
    assert doomed.faces[0].png not in content
    assert b"Zebedee" not in content
    assert person(2).faces[0].png in content


def test_only_the_owner_may_read_a_snapshot(gallery: Gallery, path: Path, tmp_path: Path) -> None:
    gallery.enroll("default", person(1))
    snapshot(path, tmp_path / "copy.sqlite")
    assert (tmp_path / "copy.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_not_overwritten(
    gallery: Gallery, path: Path, tmp_path: Path
) -> None:
    gallery.enroll("default", person(1))
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(AlreadyExists):
        snapshot(path, taken)
    assert taken.read_text() == "mine"


def test_what_is_no_gallery_is_not_copied(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        snapshot(tmp_path / "nowhere.sqlite", tmp_path / "copy")
    (tmp_path / "garbage.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(FailedPrecondition):
        snapshot(tmp_path / "garbage.sqlite", tmp_path / "copy")
    assert [file.name for file in tmp_path.iterdir()] == ["garbage.sqlite"]


def test_a_collection_that_is_deleted_but_not_gone_yet_is_not_in_a_snapshot(
    path: Path, tmp_path: Path
) -> None:
    with Gallery(path, embedding_space=SPACE) as gallery:
        gallery.collections.create("c")
        gallery.enroll("c", person(1, name="Zebedee"))
        gallery.enroll("default", person(2))
    with closing(sqlite3.connect(path)) as connection:  # as deleting it begins
        connection.execute(
            "UPDATE collections SET id = ? WHERE id = 'c'", (f"{CONDEMNED_PREFIX}2",)
        )
        connection.commit()
    snapshot(path, tmp_path / "copy.sqlite")
    content = (tmp_path / "copy.sqlite").read_bytes()
    assert person(1).faces[0].png not in content
    assert b"Zebedee" not in content
    assert person(2).faces[0].png in content
