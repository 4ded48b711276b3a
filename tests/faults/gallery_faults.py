"""Kills a process that changes a gallery, again and again, and looks at what is left.

As a script it kills hundreds of times and prints what it found as JSON; it ends with 1 if
anything acknowledged was lost, or anything deleted came back::

    python -m tests.faults.gallery_faults --kills 400 --report report
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.types import Enrolment, NewFace
from tests.benchmarks.gallery_report import Faults, Origin, record_faults
from tests.faults.gallery_worker import DEEDS, SPACES
from tests.gallery_embedder import CODEC, probe, vector_of
from tests.gallery_faces import new_face, wait_until_erased

ROOT = Path(__file__).parents[2]
ARCHIVED_SUBJECTS, FACES_EACH = 20, 32  # more records than one commit of an import
_ARCHIVED_SEEDS = 10**6


@dataclass
class Acknowledged:
    """What the killed processes had said."""

    people: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    erased: set[int] = field(default_factory=set)
    imports: set[int] = field(default_factory=set)
    deleted_imports: set[int] = field(default_factory=set)
    space: str = SPACES[0]
    next_number: int = 0

    def read(self, output: str) -> None:
        """Take in what one process printed; a line cut short was not said."""
        for line in output.splitlines(keepends=True):
            if not line.endswith("\n"):
                continue
            sign, what = line.split()
            if sign == "S":
                self.space = what
                continue
            number = int(what)
            alive, dead = (
                (self.people, self.deleted)
                if sign in "+?-e"
                else (self.imports, self.deleted_imports)
            )
            if sign == "e":
                self.erased.add(number)
            elif sign in "+I":
                alive.add(number)
            else:
                alive.discard(number)
            if sign in "-X":
                dead.add(number)
            self.next_number = max(self.next_number, number + 1)


@dataclass
class Findings:
    """What was found after the kills.

    Attributes:
        kills: how often a process was killed.
        facts_lost: acknowledged and not there.
        deleted_returned: deleted, acknowledged, and there, in an answer or in the file's bytes.
        problems: what `check` found, and collections that were there in part.
        facts: how many acknowledgements there were to lose.
    """

    kills: int = 0
    facts_lost: list[str] = field(default_factory=list)
    deleted_returned: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    facts: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong."""
        return not (self.facts_lost or self.deleted_returned or self.problems)


class Trial:
    """One gallery that is changed, and whose process is killed."""

    def __init__(self, folder: Path) -> None:
        """Make the gallery, with a first collection, and the archive for imports."""
        self._path = folder / "gallery.sqlite"
        self._archive = folder / "archive"
        self._said = Acknowledged()
        self.findings = Findings()
        with Gallery(self._path, embedding_space=SPACES[0]) as gallery:
            gallery.collections.create("base")
            for number in range(ARCHIVED_SUBJECTS):
                gallery.enroll("base", _archived_person(number))
            self._archive.write_bytes(b"".join(gallery.archives.export("base")))

    def kill_while(self, deed: str, *, delay_s: float) -> None:
        """Let a process do it, kill it so long after it began, and look at what is left."""
        self._said.read(self._run(deed, delay_s))
        self._said.next_number += 1  # the next one may be half done
        self.findings.kills += 1
        self._look_for(self._said.erased)
        with Gallery(self._path, embedding_space=self._said.space) as gallery:
            self._check(gallery)
            self._wait_until_erased(gallery)

    def _run(self, deed: str, delay_s: float) -> str:
        command = [sys.executable, "-m", "tests.faults.gallery_worker", deed, str(self._path)]
        command += [self._said.space, str(self._said.next_number), str(self._archive)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            output = worker.stdout.readline()
            time.sleep(delay_s)
            worker.send_signal(signal.SIGKILL)
            output += worker.stdout.read()
        if worker.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the worker ended by itself with {worker.returncode}")
        return output

    def _check(self, gallery: Gallery) -> None:
        said, found = self._said, self.findings
        report = gallery.check()
        found.problems += report.problems
        found.facts = sum(map(len, (said.people, said.deleted, said.imports, said.deleted_imports)))
        for number in said.people:
            if not _is_found(gallery, number):
                found.facts_lost.append(f"person {number} after kill {found.kills}")
        for number in said.deleted:
            if _is_found(gallery, number):
                found.deleted_returned.append(f"person {number} after kill {found.kills}")
        self._check_imports(gallery, faces_in_all=report.faces)

    def _wait_until_erased(self, gallery: Gallery) -> None:
        """What the process had not come to is made good by the next one."""
        wait_until_erased(gallery)
        self._look_for(self._said.deleted)

    def _look_for(self, numbers: set[int]) -> None:
        """Whether any of these people can be read in any file of the gallery."""
        content = b"".join(file.read_bytes() for file in self._path.parent.glob("gallery.*"))
        for number in numbers:
            if new_face(number).png in content:
                self.findings.deleted_returned.append(
                    f"bytes of person {number} after kill {self.findings.kills}"
                )

    def _check_imports(self, gallery: Gallery, *, faces_in_all: int) -> None:
        said, found = self._said, self.findings
        whole = ARCHIVED_SUBJECTS * FACES_EACH
        collections = {
            item.collection_id: item.face_count
            for item in gallery.collections.list(page_size=1000).items
        }
        if sum(collections.values()) != faces_in_all:
            found.problems.append("faces are there that no collection shows")
        for name, faces in collections.items():
            if name != "default" and faces != whole:
                found.problems.append(f"{name} holds {faces} faces, not {whole}")
        for number in said.imports:
            if f"import-{number}" not in collections:
                found.facts_lost.append(f"import {number} after kill {found.kills}")
        for number in said.deleted_imports:
            if f"import-{number}" in collections:
                found.deleted_returned.append(f"import {number} after kill {found.kills}")
        for name in collections.keys() - {"default", "base"}:
            gallery.collections.delete(name, force=True)  # or the trial would slow down
        said.imports.clear()


def _archived_person(number: int) -> Enrolment:
    first = _ARCHIVED_SEEDS + FACES_EACH * number
    pngs = [new_face(seed).png for seed in range(first, first + FACES_EACH)]
    faces = tuple(NewFace(CODEC, png, vector_of(png, SPACES[0])) for png in pngs)
    return Enrolment(faces, f"archived-{number}")


def _is_found(gallery: Gallery, number: int) -> bool:
    """Whether a search for a person's own face finds that person."""
    hits = gallery.search("default", probe(number, gallery.spaces.served), count=1)
    return bool(hits) and hits[0].subject_id == f"person-{number}" and hits[0].similarity > 0.999


def _counted(findings: Findings, origin: Origin) -> Faults:
    return Faults(
        kills=findings.kills,
        facts_checked=findings.facts,
        facts_lost=len(findings.facts_lost),
        deleted_returned=len(findings.deleted_returned),
        problems=len(findings.problems),
        origin=origin,
    )


def main() -> None:
    """Kill, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=400)
    parser.add_argument("--seed", type=int, default=os.getpid())
    parser.add_argument("--report", type=Path, help="folder of gallery.json and gallery.md")
    arguments = parser.parse_args()
    origin = Origin.here()
    chance = random.Random(arguments.seed)  # noqa: S311 - any moment will do
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder))
        for number in range(arguments.kills):
            deed = list(DEEDS)[number % len(DEEDS)]
            trial.kill_while(deed, delay_s=chance.uniform(0, 1))
    findings = trial.findings
    if arguments.report:
        record_faults(arguments.report, _counted(findings, origin))
    print(json.dumps(asdict(findings) | {"seed": arguments.seed}, indent=1))  # noqa: T201
    sys.exit(not findings.clean)


if __name__ == "__main__":
    main()
