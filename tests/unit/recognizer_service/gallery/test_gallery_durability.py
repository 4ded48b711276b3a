"""What was acknowledged is there after a SIGKILL at any moment; what was deleted is not."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from recognizer_service.gallery.gallery import Gallery
from shared.errors import FailedPrecondition
from tests.gallery_faces import SPACE, embedding, person

KILLS = 8
ROOT = Path(__file__).parents[4]

# Enrols without end, deletes every third again, and says so only after the gallery did.
WORKER = """
import sys
from pathlib import Path
from recognizer_service.gallery.gallery import Gallery
from tests.gallery_faces import SPACE, person

gallery = Gallery(Path(sys.argv[1]), embedding_space=SPACE)
for number in range(int(sys.argv[2]), 10**9):
    gallery.enroll("default", person(number), request_id=str(number))
    print("+", number, flush=True)
    if number % 3 == 0:
        print("?", number, flush=True)
        gallery.subjects.delete("default", f"person-{number}")
        print("-", number, flush=True)
"""


@dataclass
class Acknowledged:
    """What the killed processes had said."""

    alive: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    started: int = 0

    def read(self, output: str) -> None:
        """Take in what one process printed; a line cut short was not said."""
        for line in output.splitlines(keepends=True):
            if not line.endswith("\n"):
                continue
            sign, number = line.split()
            if sign == "+":
                self.alive.add(int(number))
            else:
                self.alive.discard(int(number))
            if sign == "-":
                self.deleted.add(int(number))
            self.started = int(number) + 2  # the next one may be half done


def run_and_kill(path: Path, first: int, delay_s: float) -> str:
    """The output of a worker that was killed so long after its first acknowledgement."""
    command = [sys.executable, "-c", WORKER, str(path), str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        output = worker.stdout.readline()
        time.sleep(delay_s)
        worker.send_signal(signal.SIGKILL)
        output += worker.stdout.read()
    assert worker.returncode == -signal.SIGKILL
    return output


def test_acknowledged_enrolments_and_deletions_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "gallery.sqlite"
    chance = random.Random(os.getpid())  # noqa: S311 - any moment will do
    said = Acknowledged()
    for _ in range(KILLS):
        said.read(run_and_kill(path, said.started, chance.uniform(0, 0.3)))
        with Gallery(path, embedding_space=SPACE) as gallery:
            report = gallery.check()
            assert report.ok, report.problems
            assert report.faces == report.indexed >= len(said.alive)
            assert report.faces <= len(said.alive) + KILLS
            for number in said.alive:
                hit = gallery.search("default", embedding(number), count=1)[0]
                assert hit.subject_id == f"person-{number}"
                assert hit.similarity == pytest.approx(1, abs=1e-6)
            for number in said.deleted:
                for hit in gallery.search("default", embedding(number), count=1):
                    assert hit.subject_id != f"person-{number}"
    assert said.alive
    assert said.deleted


def test_reopened_gallery_answers_the_same(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "gallery.sqlite"
    with Gallery(path, embedding_space=SPACE) as gallery:
        for seed in range(20):
            gallery.enroll("default", person(3 * seed, 3 * seed + 1))
        gallery.subjects.delete("default", "person-9")
        before = gallery.search("default", embedding(99), count=100)
    with Gallery(path, embedding_space=SPACE) as gallery:
        assert gallery.search("default", embedding(99), count=100) == before
        report = gallery.check()
    assert (report.ok, report.subjects, report.faces, report.indexed) == (True, 19, 38, 38)


def test_gallery_of_another_embedding_space_is_not_opened(tmp_path: Path) -> None:
    """Embeddings of two extractors are never compared; the gallery is left as it was."""
    path = tmp_path / "gallery.sqlite"
    with Gallery(path, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
    with pytest.raises(FailedPrecondition, match=r"1 faces .* space-a, .* space-b") as refused:
        Gallery(path, embedding_space="space-b")
    assert refused.value.reason == "EMBEDDING_SPACE_MISMATCH"
    with Gallery(path, embedding_space=SPACE) as gallery:
        gallery.subjects.delete("default", "person-1")
    Gallery(path, embedding_space="space-b").close()


def test_gallery_is_open_in_one_place_at_a_time(tmp_path: Path) -> None:
    """Two processes would each search an index that lacks the other's faces."""
    path = tmp_path / "gallery.sqlite"
    with Gallery(path, embedding_space=SPACE):
        with pytest.raises(FailedPrecondition) as refused:
            Gallery(path, embedding_space=SPACE)
        assert refused.value.reason == "GALLERY_IN_USE"
    Gallery(path, embedding_space=SPACE).close()


def test_gallery_of_a_later_version_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "gallery.sqlite"
    Gallery(path, embedding_space=SPACE).close()
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(FailedPrecondition, match="99") as refused:
        Gallery(path, embedding_space=SPACE)
    assert refused.value.reason == "GALLERY_TOO_NEW"


def test_file_that_is_no_gallery_is_refused_and_left_alone(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.sqlite"
    garbage.write_bytes(b"not a database at all " * 100)
    foreign = tmp_path / "foreign.sqlite"
    other = sqlite3.connect(foreign)
    other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    for path in (garbage, foreign):
        with pytest.raises(FailedPrecondition) as refused:
            Gallery(path, embedding_space=SPACE)
        assert refused.value.reason == "NOT_A_GALLERY"
    assert garbage.read_bytes() == b"not a database at all " * 100
    other = sqlite3.connect(foreign)
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]
    other.close()


def test_damaged_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "gallery.sqlite"
    with Gallery(path, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
        outside = sqlite3.connect(path, isolation_level=None)
        stray = embedding(1).tobytes()
        outside.execute("INSERT INTO embeddings VALUES (77, ?, ?)", [SPACE, stray])
        outside.close()
        assert gallery.check().problems == ("row 2 of embeddings points to a missing row of faces",)
