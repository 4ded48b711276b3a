"""The files of a gallery: for their owner's eyes, and open once whatever name they go by."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.sqlite_file import snapshot
from shared.errors import FailedPrecondition
from shared.private_files import private_file
from tests.gallery_faces import SPACE, embedding, person


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


@pytest.fixture(params=[0o000, 0o022, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


FILES = ["gallery.sqlite", "gallery.sqlite-shm", "gallery.sqlite-wal", "gallery.sqlite.lock"]


@pytest.mark.usefixtures("umask")
def test_all_files_are_for_their_owner_whatever_the_umask(path: Path) -> None:
    with Gallery(path, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
        assert modes(path.parent) == dict.fromkeys(FILES, 0o600)
        snapshot(path, path.with_name("copy"))
    assert modes(path.parent)["copy"] == 0o600


def test_files_that_others_could_read_are_repaired_when_they_are_opened(path: Path) -> None:
    """Those that a killed process left, too."""
    source = path.with_name("source.sqlite")
    with Gallery(source, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
        for name in FILES:
            shutil.copy(source.with_name(name.replace("gallery", "source")), path.with_name(name))
    for file in path.parent.glob("gallery.*"):
        file.chmod(0o755)
    with Gallery(path, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(2))
        found = modes(path.parent)
        assert [found[name] for name in FILES] == 4 * [0o600]


@pytest.mark.usefixtures("umask")
def test_a_private_file_is_private_from_its_first_byte_on(path: Path) -> None:
    path.write_bytes(b"something longer, for all to read")
    path.chmod(0o644)
    for name in (path, path.with_name("new")):
        with private_file(name) as file:
            assert name.stat().st_mode & 0o777 == 0o600
            file.write(b"a face")
        assert name.read_bytes() == b"a face"


def symlinked(path: Path) -> Path:
    link = path.with_name("link.sqlite")
    link.symlink_to(path)
    return link


def symlinked_folder(path: Path) -> Path:
    (path.parent / "folder").symlink_to(path.parent)
    return path.parent / "folder" / path.name


def hard_linked(path: Path) -> Path:
    (path.parent / "elsewhere").mkdir()
    link = path.parent / "elsewhere" / "other.sqlite"
    link.hardlink_to(path)
    return link


OTHER_NAMES = (symlinked, symlinked_folder, hard_linked, lambda path: path)


@pytest.mark.parametrize("named", OTHER_NAMES)
def test_a_gallery_is_open_once_whatever_it_is_called(
    path: Path, named: Callable[[Path], Path]
) -> None:
    with Gallery(path, embedding_space=SPACE) as gallery:
        other = named(path)
        with pytest.raises(FailedPrecondition) as refused:
            Gallery(other, embedding_space=SPACE)
        assert refused.value.reason == "GALLERY_IN_USE"
        opening = f"Gallery(Path({str(other)!r}), embedding_space={SPACE!r})"
        program = (
            "from pathlib import Path; from recognizer_service.gallery.gallery import Gallery; "
        )
        answer = subprocess.run(
            [sys.executable, "-c", program + opening], check=False, capture_output=True, text=True
        )
        assert "GALLERY_IN_USE" in answer.stderr or "has the gallery" in answer.stderr
        assert answer.returncode != 0
        gallery.enroll("default", person(1))
    with Gallery(other, embedding_space=SPACE) as gallery:
        assert gallery.search("default", embedding(1), count=1)[0].subject_id == "person-1"


@pytest.mark.parametrize("named", OTHER_NAMES)
def test_an_attempt_to_open_it_twice_drops_no_lock_of_the_first(
    path: Path, named: Callable[[Path], Path]
) -> None:
    """Closing any descriptor of a file drops the process's locks on it (POSIX)."""
    with Gallery(path, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
        with pytest.raises(FailedPrecondition):
            Gallery(named(path), embedding_space=SPACE)
        # A stranger that were the last to have it open would bring the log into the file.
        stranger = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        stranger += "print(c.execute('SELECT count(*) FROM faces').fetchone()[0]); c.close()"
        answer = subprocess.run(
            [sys.executable, "-c", stranger, str(path)], check=True, capture_output=True, text=True
        )
        assert answer.stdout.strip() == "1"
        assert path.with_name("gallery.sqlite-wal").exists()
        gallery.enroll("default", person(2))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM faces").fetchone() == (2,)


def test_a_link_that_leads_nowhere_yet_gets_its_gallery_where_it_leads(path: Path) -> None:
    link = path.with_name("link.sqlite")
    link.symlink_to(path)
    with Gallery(link, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
        assert sorted(file.name for file in path.parent.iterdir()) == [*FILES, "link.sqlite"]
    assert link.is_symlink()
    assert path.is_file()


def test_it_can_be_opened_again_after_it_was_closed(path: Path) -> None:
    for seed in (1, 2, 3):
        with Gallery(path, embedding_space=SPACE) as gallery:
            gallery.enroll("default", person(seed))
