"""On a full disk people can still be deleted."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from recognizer_service.gallery.gallery import Gallery
from shared.errors import NotFound, Overloaded
from tests.gallery_faces import SPACE, embedding, person, wait_until_erased


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 24 MiB for a gallery and its reserve; skips where it cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems can be mounted by root only")
    (folder / "other").write_bytes(bytes(24 << 20))
    yield folder
    subprocess.run(["umount", folder], check=True)  # noqa: S607


def open_gallery(disk: Path, *, reserve: bool = True) -> Gallery:
    return Gallery(disk / "gallery.sqlite", embedding_space=SPACE, reserve=reserve)


def fill(gallery: Gallery) -> int:
    """Enroll until the disk is full; return how many people fitted."""
    for number in range(2000):
        try:
            gallery.enroll("default", person(*range(100 * number, 100 * number + 32)))
        except Overloaded:
            return number
    raise AssertionError("2000 people fitted on the disk")


def take_the_rest(disk: Path) -> None:
    """Another program fills the disk."""
    with suppress(OSError), (disk / "log").open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def delete(gallery: Gallery, number: int) -> None:
    assert gallery.subjects.delete("default", f"person-{100 * number}").faces_deleted == 32
    with pytest.raises(NotFound):
        gallery.subjects.get("default", f"person-{100 * number}")


def test_everybody_can_be_deleted_and_erased(disk: Path) -> None:
    with open_gallery(disk) as gallery:
        enrolled = fill(gallery)
        take_the_rest(disk)
        for number in range(enrolled):
            delete(gallery, number)
        wait_until_erased(gallery)
        assert gallery.check().ok


def test_without_a_reserve_nobody_can(disk: Path) -> None:
    """What the other tests show is due to the reserve."""
    with open_gallery(disk, reserve=False) as gallery:
        enrolled = fill(gallery)
        take_the_rest(disk)
        with pytest.raises(Overloaded, match="disk is full"):
            _ = [delete(gallery, number) for number in range(enrolled)]


def test_the_reserve_is_not_for_enrollments(disk: Path) -> None:
    with open_gallery(disk) as gallery:
        fill(gallery)
        take_the_rest(disk)
        delete(gallery, 0)
        take_the_rest(disk)  # of the reserve, too
        for _ in range(3):
            with pytest.raises(Overloaded, match="reserved for deletions"):
                gallery.enroll("default", person(1_000_000))
        assert gallery.search("default", embedding(100), count=1)[0].subject_id == "person-100"


def test_enrollments_go_on_once_there_is_room(disk: Path) -> None:
    with open_gallery(disk) as gallery:
        fill(gallery)
        take_the_rest(disk)
        delete(gallery, 0)
        take_the_rest(disk)
        (disk / "other").unlink()
        wait_until_erased(gallery)
        for number in range(3):
            gallery.enroll("default", person(1_000_000 + number))


def test_a_gallery_on_a_full_disk_opens_and_people_can_be_deleted(disk: Path) -> None:
    with open_gallery(disk) as gallery:
        fill(gallery)
        take_the_rest(disk)
        delete(gallery, 0)
    with open_gallery(disk) as gallery:
        delete(gallery, 1)
