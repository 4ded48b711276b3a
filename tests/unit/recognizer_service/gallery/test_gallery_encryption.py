"""An encrypted gallery: nothing of a person is in its files without the key."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.sightings.types import Sighting
from recognizer_service.gallery.storage.locations import Location, parse_location
from recognizer_service.gallery.storage.replacement import replace_key
from recognizer_service.gallery.storage.sqlite import SqliteDatabase
from recognizer_service.gallery.storage.sqlite_file import snapshot
from recognizer_service.gallery.types import SubjectFilter
from shared.errors import FailedPrecondition, NotFound
from shared.sqlite_files import connect
from shared.storage_key import KeySource
from tests.ciphered import KEY, OTHER_KEY, decrypted, encrypted
from tests.gallery_faces import SPACE, embedding, new_face, person, store
from tests.power_loss import watch

ROOT = Path(__file__).parents[4]
NAME = "Zebedee Quillfeather"
KILLS = 12


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery" / "gallery.sqlite"


def open_gallery(location: Location) -> Gallery:
    return Gallery(location, embedding_space=SPACE)


def raw(path: Path) -> bytes:
    """The bytes of every file of the gallery."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def traces() -> list[bytes]:
    """What betrays the person of `fill`: the name, a map, an embedding."""
    face = new_face(1)
    return [NAME.encode(), face.png[:24], face.embedding.tobytes()[:24], b"gate-77"]


def fill(gallery: Gallery) -> None:
    """Enroll a person with a name, and see somebody at a gate."""
    gallery.enroll("default", person(1, subject_id="zq", name=NAME))
    gallery.enroll("default", person(2))
    store(
        gallery,
        "default",
        Sighting(f"00000000-0000-4000-8000-{3:012}", "gate-77", "codec", new_face(3).png),
    )


@pytest.mark.parametrize("kept", [False, True], ids=["plain", "encrypted"])
def test_without_the_key_the_files_hold_nothing_of_a_person(path: Path, *, kept: bool) -> None:
    """In the database, its log and the log's index, open and closed."""
    with open_gallery(encrypted(path) if kept else path) as gallery:
        fill(gallery)
        log = path.with_name("gallery.sqlite-wal").read_bytes()
        assert len(log) > 8192
        assert [trace in raw(path) for trace in traces()] == [not kept] * 4
        if kept:
            assert all(trace in decrypted(path) for trace in traces())
        gallery.collections.create("another")
    assert [trace in raw(path) for trace in traces()] == [not kept] * 4


def test_an_encrypted_gallery_serves_as_a_plain_one_does(path: Path) -> None:
    with open_gallery(encrypted(path)) as gallery:
        fill(gallery)
    with open_gallery(encrypted(path)) as gallery:
        assert gallery.search("default", embedding(1), count=1)[0].subject_id == "zq"
        found = gallery.subjects.list("default", only=SubjectFilter(name_contains="quillf"))
        assert [subject.subject_id for subject in found.items] == ["zq"]
        assert gallery.check().ok
        gallery.database.try_writing()


def refused(location: Location) -> str:
    with pytest.raises(FailedPrecondition) as caught:
        open_gallery(location)
    assert KEY.secret.hex() not in caught.value.message
    return caught.value.reason


def test_another_key_or_none_is_refused_and_the_files_are_left_alone(path: Path) -> None:
    with open_gallery(encrypted(path)) as gallery:
        fill(gallery)
    before = path.read_bytes()
    assert refused(encrypted(path, OTHER_KEY)) == "STORAGE_KEY_WRONG"
    assert refused(path) == "STORAGE_KEY_MISSING"
    assert path.read_bytes() == before
    with open_gallery(encrypted(path)) as gallery:
        assert gallery.check().ok


def test_a_plain_gallery_with_a_key_is_refused_and_left_alone(path: Path) -> None:
    with open_gallery(path) as gallery:
        fill(gallery)
    before = path.read_bytes()
    assert refused(encrypted(path)) == "STORAGE_NOT_ENCRYPTED"
    assert path.read_bytes() == before


def test_what_is_no_gallery_is_not_taken_for_an_encrypted_one(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no gallery at all " * 1000)
    assert refused(encrypted(path)) == "NOT_A_GALLERY"
    assert refused(path) == "NOT_A_GALLERY"


def test_a_page_changed_on_disk_is_noticed(path: Path) -> None:
    """Pages are authenticated: one byte is enough."""
    with open_gallery(encrypted(path)) as gallery:
        fill(gallery)
    content = bytearray(path.read_bytes())
    for start in range(8192, len(content), 8192):
        content[start + 100] ^= 1
    path.write_bytes(content)
    assert refused(encrypted(path)) == "NOT_A_GALLERY"


def test_a_key_is_for_files_only() -> None:
    with pytest.raises(ValueError, match="SQLite files only"):
        parse_location("postgresql://db/people", key=KeySource.parse("env:KEY"))


def test_a_deleted_person_is_gone_also_for_the_holder_of_the_key(path: Path) -> None:
    with open_gallery(encrypted(path)) as gallery:
        fill(gallery)
        gone = gallery.subjects.delete("default", "zq")
        assert gallery.database.erased(gone.erasure, wait_s=30)
        content = decrypted(path)
        assert NAME.encode() not in content
        assert new_face(1).png[:24] not in content
        assert new_face(1).embedding.tobytes()[-24:] not in content
        assert new_face(2).png[:24] in content


def test_copies_of_moved_rows_are_erased(path: Path) -> None:
    """SQLite leaves stale copies of rows that it moves between pages, secure_delete or not."""
    chance = random.Random(0)  # noqa: S311 - a reproducible order, no secret
    living: list[int] = []
    deleted: list[int] = []
    database = SqliteDatabase(path, key=KEY)
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE t (k INTEGER PRIMARY KEY, name TEXT, map BLOB)")
        connection.exec_driver_sql("CREATE INDEX names ON t (name)")
        for key in range(4000):
            if living and chance.random() < 0.45:
                deleted.append(living.pop(chance.randrange(len(living))))
                connection.exec_driver_sql("DELETE FROM t WHERE k = ?", (deleted[-1],))
            else:
                name, png = f"{chance.random()} name {key:04}", b"map %04d" % key
                row = (key, name, png * chance.randrange(10, 200))
                connection.exec_driver_sql("INSERT INTO t VALUES (?, ?, ?)", row)
                living.append(key)
        erasure = database.mark_erasure(connection)
    with closing(connect(path, KEY)) as log:
        log.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def left(numbers: list[int]) -> int:
        content = decrypted(path)
        return sum(b"name %04d" % key in content or b"map %04d" % key in content for key in numbers)

    assert left(deleted)
    database.begin_erasing(lambda _: False)
    assert database.erased(erasure, wait_s=30)
    assert left(deleted) == 0
    assert left(living) == len(living)
    database.close()


def test_what_was_deleted_before_a_kill_is_erased_by_the_next_process(path: Path) -> None:
    """Enrolls and deletes until it is killed; see `WORKER`."""
    location = encrypted(path)
    for _ in range(3):
        said = run_and_kill(WORKER, str(path), delay_s=0.4)
        with open_gallery(location) as gallery:
            report = gallery.check()
            assert report.ok, report.problems
            deadline = time.monotonic() + 30
            while gallery.database.erasures_pending():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            content = decrypted(path)
            for number in said["-"]:
                assert new_face(number).png[:24] not in content
            for number in said["+"] - said["?"]:
                hit = gallery.search("default", embedding(number), count=1)[0]
                assert hit.subject_id == f"person-{number}"
            assert said["-"]
            gallery.collections.delete("default", force=True)
            gallery.collections.create("default")


def test_what_was_acknowledged_outlives_a_loss_of_power(tmp_path: Path) -> None:
    power = watch(tmp_path / "gallery", tmp_path)
    path = tmp_path / "gallery" / "gallery.sqlite"
    encrypted(path)
    command = [sys.executable, "-c", WORKER, str(path)]
    environment = {**os.environ, **power.environment}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        for step in range(8):
            said = worker.stdout.readline().split()
            worker.send_signal(signal.SIGSTOP)
            left = power.left(tmp_path / f"left-{step}")
            shutil.copytree(tmp_path / "gallery-keys", tmp_path / f"left-{step}-keys")
            worker.send_signal(signal.SIGCONT)
            with open_gallery(encrypted(left / "gallery.sqlite")) as gallery:
                assert gallery.check().ok
                if said[0] == "+" and int(said[1]) % 3:  # others may be deleted by now
                    hit = gallery.search("default", embedding(int(said[1])), count=1)[0]
                    assert hit.subject_id == f"person-{said[1]}"
        worker.kill()


def test_a_snapshot_has_the_key_of_its_gallery(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "monday.sqlite"
    copy.parent.mkdir()
    with open_gallery(encrypted(path)) as gallery:
        fill(gallery)
        gallery.collections.create("gone")
        gallery.enroll("gone", person(9, name="Ebenezer Gone"))
        gallery.collections.delete("gone", force=True)
        snapshot(path, copy, key=KEY)
    assert not any(trace in raw(copy) for trace in traces())
    assert b"Ebenezer" not in decrypted(copy)
    with open_gallery(encrypted(copy)) as gallery:
        assert gallery.check().ok
        assert gallery.search("default", embedding(1), count=1)[0].subject_id == "zq"
        sequence = gallery.enroll("default", person(20)).faces[0].face_id
        assert sequence


@pytest.mark.parametrize("key", [None, OTHER_KEY])
def test_a_snapshot_without_the_key_is_refused(path: Path, tmp_path: Path, key: object) -> None:
    open_gallery(encrypted(path)).close()
    with pytest.raises(FailedPrecondition) as caught:
        snapshot(path, tmp_path / "copy", key=key)  # type: ignore[arg-type]
    assert caught.value.reason in {"STORAGE_KEY_MISSING", "STORAGE_KEY_WRONG"}
    assert not (tmp_path / "copy").exists()


def test_a_gallery_is_encrypted_rekeyed_and_decrypted(path: Path) -> None:
    """With all that it holds, and so that nothing stays of the state before."""
    with open_gallery(path) as gallery:
        fill(gallery)
        events = len(gallery.audit.list().items)
    replace_key(path, None, KEY)
    assert not any(trace in raw(path) for trace in traces())
    with open_gallery(encrypted(path)) as gallery:
        gallery.enroll("default", person(4))
    replace_key(path, KEY, OTHER_KEY)
    assert refused(encrypted(path)) == "STORAGE_KEY_WRONG"
    assert all(trace in decrypted(path, OTHER_KEY) for trace in traces())
    replace_key(path, OTHER_KEY, None)
    assert all(trace in raw(path) for trace in traces())
    with open_gallery(path) as gallery:
        assert gallery.check().ok
        assert gallery.check().faces == 3
        assert len(gallery.audit.list().items) == events + 1
        assert gallery.search("default", embedding(1), count=1)[0].subject_id == "zq"
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "gallery.sqlite",
        "gallery.sqlite.lock",
    ]


def test_the_old_file_is_overwritten(path: Path) -> None:
    """Also for whoever reads its blocks: a descriptor of it sees zeros."""
    with open_gallery(path) as gallery:
        fill(gallery)
    with path.open("rb") as old:
        replace_key(path, None, KEY)
        assert set(old.read()) == {0}


def test_a_key_is_changed_by_who_has_the_old_one_and_the_gallery_alone(path: Path) -> None:
    with open_gallery(encrypted(path)) as gallery:
        fill(gallery)
        assert change_refused(path) == "GALLERY_IN_USE"
    before = path.read_bytes()
    assert change_refused(path, old=OTHER_KEY) == "STORAGE_KEY_WRONG"
    path.with_name("second").hardlink_to(path)
    assert change_refused(path) == "GALLERY_LINKED"
    assert path.read_bytes() == before
    path.with_name("second").unlink()
    damaged = before[: len(before) // 2] + bytes(len(before) - len(before) // 2)
    path.write_bytes(damaged)
    assert change_refused(path) == "NOT_A_GALLERY"
    assert {file.name for file in path.parent.iterdir()} == {
        "gallery.sqlite",
        "gallery.sqlite.lock",
    }
    with pytest.raises(NotFound):
        replace_key(path.with_name("missing"), KEY, OTHER_KEY)


def change_refused(path: Path, old: object = KEY) -> str:
    with pytest.raises(FailedPrecondition) as caught:
        replace_key(path, old, OTHER_KEY)  # type: ignore[arg-type]
    return caught.value.reason


# Changes the key there and back without end.
ROTATION = """
import sys
from pathlib import Path
from recognizer_service.gallery.storage.replacement import replace_key
from tests.ciphered import KEY, OTHER_KEY

path = Path(sys.argv[1])
old, new = (KEY, OTHER_KEY) if sys.argv[2] == "there" else (OTHER_KEY, KEY)
while True:
    print("+ 0", flush=True)
    replace_key(path, old, new)
    old, new = new, old
"""

# Enrolls without end, deletes every third again, and says so only after the gallery did.
WORKER = """
import sys
from pathlib import Path
from recognizer_service.gallery.gallery import Gallery
from tests.ciphered import encrypted
from tests.gallery_faces import SPACE, person

gallery = Gallery(encrypted(Path(sys.argv[1])), embedding_space=SPACE)
for number in range(10**9):
    gallery.enroll("default", person(number))
    print("+", number, flush=True)
    if number % 3 == 0:
        print("?", number, flush=True)
        gallery.subjects.delete("default", f"person-{number}")
        print("-", number, flush=True)
"""


def run_and_kill(worker: str, *arguments: str, delay_s: float) -> dict[str, set[int]]:
    """Run a worker and kill it so long after its first line; returns what it said."""
    command = [sys.executable, "-c", worker, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.readline()
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        output += process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    said: dict[str, set[int]] = {"+": set(), "?": set(), "-": set()}
    for line in output.splitlines(keepends=True):
        if line.endswith("\n"):
            sign, number = line.split()
            said[sign].add(int(number))
    return said


def test_a_kill_while_the_key_is_changed_loses_nothing(path: Path) -> None:
    """The gallery has one of the two keys, whole, and nothing is left of the other file."""
    with open_gallery(encrypted(path)) as gallery:
        for seed in range(0, 60, 3):
            gallery.enroll("default", person(seed, seed + 1, name=NAME))
    chance = random.Random(os.getpid())  # noqa: S311 - any moment will do
    keys, present = {"there": KEY, "back": OTHER_KEY}, "there"
    ended_with = set()
    for _ in range(KILLS):
        run_and_kill(ROTATION, str(path), present, delay_s=chance.uniform(0, 0.2))
        header = path.read_bytes()[:16]
        present = "there" if header == KEY.salt else "back"
        ended_with.add(present)
        with open_gallery(encrypted(path, keys[present])) as gallery:
            report = gallery.check()
            assert (report.ok, report.faces) == (True, 40), report.problems
        names = {file.name for file in path.parent.iterdir()}
        assert names == {"gallery.sqlite", "gallery.sqlite.lock"}
    assert len(ended_with) == len(keys)


@pytest.mark.parametrize("moment", ["copying", "before", "after"])
def test_what_an_interrupted_change_left_is_removed(path: Path, moment: str) -> None:
    """Each state that a crash can leave, made by hand."""
    with open_gallery(encrypted(path)) as gallery:
        fill(gallery)
    copy, old = (path.with_name(f"gallery.sqlite{ending}") for ending in ("-new", "-old"))
    shutil.copy(path, copy)
    if moment != "copying":
        old.hardlink_to(path)
    if moment == "after":
        copy.rename(path)
    with open_gallery(encrypted(path)) as gallery:
        assert gallery.check().ok
        assert gallery.search("default", embedding(1), count=1)[0].subject_id == "zq"
    assert not copy.exists()
    assert not old.exists()
