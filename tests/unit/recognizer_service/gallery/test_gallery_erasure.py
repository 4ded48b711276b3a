"""After a deletion that says "erased", the raw files hold none of the person's bytes.

But for the subject's id, which stays in the audit log as long as that keeps it.
"""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import copy

import pytest

from recognizer_service.gallery.audit import Deletion, Purge
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.sightings.types import Sighting
from recognizer_service.gallery.types import Enrolment
from shared.errors import InvalidInput, NotFound
from tests.benchmarks.gallery_population import SPACE as MADE_UP
from tests.benchmarks.gallery_population import Population, fill
from tests.clock import Clock
from tests.gallery_embedder import SeededEmbedder, vector_of
from tests.gallery_faces import SPACE, new_face, person, store

NAME = "Zebedee Quillfeather"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


@pytest.fixture
def gallery(path: Path) -> Iterator[Gallery]:
    with Gallery(path, embedding_space=SPACE) as opened:
        yield opened


def raw(path: Path) -> bytes:
    """The bytes of every file of the gallery."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def erase(gallery: Gallery, deletion: Deletion | Purge) -> None:
    """Wait until the deletion is said to be off the disk."""
    assert gallery.database.erased(deletion.erasure, wait_s=30)


def known(*seeds: int) -> Enrolment:
    """The subject "zq-1883", and all that can be said of one."""
    return replace(
        person(*seeds, subject_id="zq-1883", name=NAME),
        metadata={"badge-number": "Qx-77-04411"},
        labels=("night-shift-crew",),
    )


def a_sighting(seed: int) -> Sighting:
    """A sighting of a seed."""
    return Sighting(f"00000000-0000-4000-8000-{seed:012}", "gate-1", "codec", new_face(seed).png)


def traces(enrolment: Enrolment) -> list[bytes]:
    """What would betray the subject: what is said of it, both ends of each map and embedding."""
    words = [enrolment.display_name, *enrolment.metadata, *enrolment.metadata.values()]
    found = [word.encode() for word in (*words, *enrolment.labels)]
    for face in enrolment.faces:
        for blob in (face.png, face.embedding.tobytes()):
            found += [blob[:24], blob[-24:]]
    return found


def found_in(content: bytes, people: list[Enrolment]) -> list[bytes]:
    """What is left of these people."""
    return [trace for subject in people for trace in traces(subject) if trace in content]


def test_deleted_subject_leaves_no_bytes(gallery: Gallery, path: Path) -> None:
    subject = known(1, 2)
    gallery.enroll("default", subject, request_id="r")
    assert all(trace in raw(path) for trace in traces(subject))
    erase(gallery, gallery.subjects.delete("default", "zq-1883"))
    assert not any(trace in raw(path) for trace in traces(subject))


def test_deleted_face_leaves_no_bytes_and_its_siblings_stay(gallery: Gallery, path: Path) -> None:
    subject = known(1, 2)
    face = gallery.enroll("default", subject).faces[0]
    erase(gallery, gallery.subjects.delete_face("default", face.face_id))
    assert subject.faces[0].png not in raw(path)
    assert subject.faces[0].embedding.tobytes()[:24] not in raw(path)
    assert subject.faces[1].png in raw(path)


def test_deleted_collection_leaves_no_bytes(gallery: Gallery, path: Path) -> None:
    gallery.collections.create("c")
    subject = known(1)
    gallery.enroll("c", subject)
    erase(gallery, gallery.collections.delete("c", force=True))
    assert not any(trace in raw(path) for trace in traces(subject))


def test_no_copy_is_left_where_pages_were_split_and_merged(gallery: Gallery, path: Path) -> None:
    """SQLite leaves stale copies of rows that it moves between pages, secure_delete or not."""
    chance = random.Random(2)  # noqa: S311 - a reproducible order, no secret
    living: list[Enrolment] = []
    deleted: list[Enrolment] = []
    for number in range(100):
        if living and chance.random() < 0.45:
            deleted.append(living.pop(chance.randrange(len(living))))
            erase(gallery, gallery.subjects.delete("default", str(deleted[-1].subject_id)))
        else:
            seeds = range(3 * number, 3 * number + chance.randint(1, 3))
            faces = (replace(new_face(s), png=_map(chance)) for s in seeds)
            name = f"{NAME} the {number}th"
            living.append(Enrolment(tuple(faces), f"subject-number-{number}-end", name))
            gallery.enroll("default", living[-1])
            # and no cache brings back what was erased
            assert not found_in(raw(path), deleted[-8:])
    content = raw(path)
    assert not [trace for gone in deleted for trace in traces(gone) if trace in content]
    assert all(trace in content for here in living for trace in traces(here))
    assert gallery.check().ok


def _map(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randint(100, 2000))


def test_erased_is_false_while_a_reader_holds_the_log_and_made_good_later(
    gallery: Gallery, path: Path
) -> None:
    subject = known(1)
    gallery.enroll("default", subject)
    gallery.enroll("default", person(2))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM faces").fetchone()
    deletion = gallery.subjects.delete("default", "zq-1883")
    assert deletion.faces_deleted == 1
    assert not gallery.database.erased(deletion.erasure, wait_s=0.5)
    assert gallery.database.erasures_pending() == 1
    assert subject.faces[0].png in raw(path)
    gallery.enroll("default", person(3))  # nobody else is held up
    reader.close()
    erase(gallery, deletion)
    assert gallery.database.erasures_pending() == 0
    assert not any(trace in raw(path) for trace in traces(subject))


def test_bytes_of_a_deletion_cut_short_go_at_the_next_start(path: Path) -> None:
    """As after a crash between the deletion's commit and the erasure."""
    subject = known(1)
    with Gallery(path, embedding_space=SPACE) as gallery:
        gallery.enroll("default", subject)
    crashed = sqlite3.connect(path, isolation_level=None)
    crashed.execute("PRAGMA foreign_keys = ON")
    crashed.execute("PRAGMA secure_delete = OFF")
    crashed.execute("DELETE FROM subjects")
    crashed.execute("INSERT INTO erasures DEFAULT VALUES")
    crashed.close()
    assert subject.faces[0].png in raw(path)
    Gallery(path, embedding_space=SPACE).close()
    assert not any(trace in raw(path) for trace in traces(subject))


def test_copies_of_moved_rows_that_a_killed_process_left_go_too(path: Path) -> None:
    """It had scrubbed nothing, and nothing was deleted yet: only the whole file will do."""
    crashed = path.with_name("crashed.sqlite")
    chance = random.Random(3)  # noqa: S311 - a reproducible order, no secret
    people = [
        replace(known(seed), subject_id=f"n{chance.randrange(10**6)}-{seed}") for seed in range(60)
    ]
    with Gallery(crashed, embedding_space=SPACE) as gallery:
        for subject in people:
            gallery.enroll("default", subject)
        for file in path.parent.glob("crashed.*"):  # as a kill leaves it
            copy(file, path.with_name(file.name.replace("crashed", "gallery")))
    for file in path.parent.glob("crashed.*"):
        file.unlink()
    with closing(sqlite3.connect(path)) as stranger:  # the log is gone, and what it could tell
        stranger.execute("SELECT count(*) FROM faces").fetchone()
    assert not path.with_name("gallery.sqlite-wal").exists()
    with Gallery(path, embedding_space=SPACE) as gallery:
        for subject in people:
            erase(gallery, gallery.subjects.delete("default", str(subject.subject_id)))
        assert not found_in(raw(path), people)


def test_a_large_collection_is_gone_at_once_and_its_bytes_once_it_is_erased(
    gallery: Gallery, path: Path
) -> None:
    gallery.collections.create("c", sighting_retention_s=3600)
    people = [known(*range(20 * number, 20 * number + 20)) for number in range(20)]
    for number, subject in enumerate(people):
        gallery.enroll("c", replace(subject, subject_id=f"s{number}"))
    sighting = a_sighting(1)
    store(gallery, "c", sighting)
    deletion = gallery.collections.delete("c", force=True)
    assert deletion.faces_deleted == 400
    with pytest.raises(NotFound):
        gallery.collections.get("c")
    gallery.collections.create("c")  # the name is free
    gallery.enroll("c", person(9000))
    report = gallery.check()
    assert (report.ok, report.faces, report.subjects) == (True, 1, 1)
    erase(gallery, deletion)
    content = raw(path)
    assert not found_in(content, people)
    assert sighting.png not in content
    assert person(9000).faces[0].png in content
    assert gallery.check().ok


def test_a_deleted_collection_does_not_come_back_with_the_next_start(path: Path) -> None:
    people = [known(*range(20 * number, 20 * number + 20)) for number in range(20)]
    with Gallery(path, embedding_space=SPACE) as gallery:
        gallery.collections.create("c")
        for number, subject in enumerate(people):
            gallery.enroll("c", replace(subject, subject_id=f"s{number}"))
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM faces").fetchone()
        deletion = gallery.collections.delete("c", force=True)
        assert not gallery.database.erased(deletion.erasure)
    reader.close()
    with Gallery(path, embedding_space=SPACE) as gallery:
        assert [found.collection_id for found in gallery.collections.list().items] == ["default"]
        assert gallery.check().faces == 0
        erase(gallery, deletion)
    assert not found_in(raw(path), people)


def test_what_erasing_reads_does_not_grow_with_the_gallery(path: Path) -> None:
    """A sighting that expires every minute must not cost the whole file every minute."""
    clock = Clock()
    with Gallery(path, embedding_space=MADE_UP, now=clock, elapsed_s=clock.elapsed_s) as gallery:
        fill(gallery, Population(3000))
        gallery.collections.update("default", sighting_retention_s=60)
        erase(gallery, gallery.subjects.delete("default", "subject-7"))  # and what the import left
        store(gallery, "default", a_sighting(1))
        gallery.enroll("default", known(1))
        read = bytes_read()
        erase(gallery, gallery.subjects.delete("default", "zq-1883"))
        clock.time += timedelta(seconds=61)
        purge = gallery.purge_expired()
        assert purge.sightings == 1
        erase(gallery, purge)
        assert bytes_read() - read < path.stat().st_size / 4
        assert a_sighting(1).png not in raw(path)


def bytes_read() -> int:
    """Bytes that this process has read from files, cached ones included."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_only_a_number_that_was_given_can_be_asked_for(gallery: Gallery) -> None:
    gallery.enroll("default", known(1))
    deletion = gallery.subjects.delete("default", "zq-1883")
    erase(gallery, deletion)
    with pytest.raises(NotFound, match="there is no erasure"):
        gallery.database.erased(deletion.erasure + 1)
    for number in (0, -1, 2**63, 10**40):
        with pytest.raises(InvalidInput, match=str(number)):
            gallery.database.erased(number)


@pytest.mark.parametrize("served", [SPACE, "space-b"])
def test_deleted_subject_leaves_no_bytes_in_any_embedding_space(
    gallery: Gallery, path: Path, served: str
) -> None:
    """Neither in the one that was filled for a new model, nor in the old one kept to go back."""
    subject = known(1)
    gallery.enroll("default", subject)
    list(gallery.spaces.fill(SeededEmbedder("space-b")))
    gallery.spaces.serve(served)
    anew = vector_of(subject.faces[0].png, "space-b").tobytes()
    assert anew[:24] in raw(path)
    erase(gallery, gallery.subjects.delete("default", "zq-1883"))
    content = raw(path)
    assert anew[:24] not in content
    assert anew[-24:] not in content
    assert not any(trace in content for trace in traces(subject))


def test_subject_deleted_while_it_is_embedded_anew_leaves_no_bytes(
    gallery: Gallery, path: Path
) -> None:
    subject = known(1)
    gallery.enroll("default", subject)
    gallery.enroll("default", person(2))
    deletions: list[Deletion] = []
    embedder = SeededEmbedder(
        "space-b",
        before_batch=lambda: deletions.append(gallery.subjects.delete("default", "zq-1883")),
    )
    assert [step.faces_done for step in gallery.spaces.fill(embedder)] == [0, 1]
    erase(gallery, deletions[0])
    content = raw(path)
    assert vector_of(subject.faces[0].png, "space-b").tobytes()[:24] not in content
    assert not any(trace in content for trace in traces(subject))


def test_what_was_said_before_a_change_leaves_no_bytes_once_something_is_erased(
    gallery: Gallery, path: Path
) -> None:
    before = known(1)
    gallery.enroll("default", before)
    gallery.subjects.update(
        "default", "zq-1883", display_name="Zoe", metadata={"badge": "1"}, labels=["day"]
    )
    gallery.enroll("default", person(2))
    erase(gallery, gallery.subjects.delete("default", "person-2"))
    content = raw(path)
    assert before.faces[0].png in content
    assert not [word for word in traces(before)[:4] if word in content]


def test_expired_subject_leaves_no_bytes(path: Path) -> None:
    clock = Clock()
    subject = replace(known(1), expires_at=clock.time + timedelta(hours=1))
    with Gallery(path, embedding_space=SPACE, now=clock, elapsed_s=clock.elapsed_s) as gallery:
        gallery.enroll("default", subject)
        clock.time += timedelta(hours=1)
        purge = gallery.purge_expired()
        assert purge.subjects == 1
        erase(gallery, purge)
        assert not any(trace in raw(path) for trace in traces(subject))


def test_the_id_stays_in_the_audit_log_until_that_expires(path: Path) -> None:
    clock = Clock()
    with Gallery(
        path,
        embedding_space=SPACE,
        now=clock,
        elapsed_s=clock.elapsed_s,
        audit_retention=timedelta(days=30),
    ) as gallery:
        gallery.enroll("default", known(1), request_id="req-77")
        gallery.subjects.delete("default", "zq-1883")
        assert b"zq-1883" in raw(path)
        clock.time += timedelta(days=32)
        purge = gallery.purge_expired()
        assert purge.audit_events == 3
        erase(gallery, purge)
        assert b"zq-1883" not in raw(path)


def test_request_digest_outlives_the_subject_but_tells_nothing(
    gallery: Gallery, path: Path
) -> None:
    gallery.enroll("default", known(1), request_id="req-77")
    gallery.subjects.delete("default", "zq-1883")
    with sqlite3.connect(path) as connection:
        (row,) = connection.execute("SELECT * FROM requests").fetchall()
    connection.close()
    assert "req-77" in row
    assert not any(b"zq-1883" in str(value).encode() for value in row)
