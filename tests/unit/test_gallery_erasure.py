"""After a deletion that says "erased", the raw files hold none of the person's bytes.

But for the subject's id, which stays in the audit log as long as that keeps it.
"""

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.records import Enrolment
from tests.clock import Clock
from tests.gallery_embedder import SeededEmbedder, vector_of
from tests.gallery_faces import SPACE, new_face, person

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


def known(*seeds: int) -> Enrolment:
    """The subject "zq-1883", and all that can be said of one."""
    return replace(
        person(*seeds, subject_id="zq-1883", name=NAME),
        metadata={"badge-number": "Qx-77-04411"},
        labels=("night-shift-crew",),
    )


def traces(enrolment: Enrolment) -> list[bytes]:
    """What would betray the subject: what is said of it, both ends of each map and embedding."""
    words = [enrolment.display_name, *enrolment.metadata, *enrolment.metadata.values()]
    found = [word.encode() for word in (*words, *enrolment.labels)]
    for face in enrolment.faces:
        for blob in (face.png, face.embedding.tobytes()):
            found += [blob[:24], blob[-24:]]
    return found


def test_deleted_subject_leaves_no_bytes(gallery: Gallery, path: Path) -> None:
    subject = known(1, 2)
    gallery.enroll("default", subject, request_id="r")
    assert all(trace in raw(path) for trace in traces(subject))
    assert gallery.subjects.delete("default", "zq-1883").erased
    assert not any(trace in raw(path) for trace in traces(subject))


def test_deleted_face_leaves_no_bytes_and_its_siblings_stay(gallery: Gallery, path: Path) -> None:
    subject = known(1, 2)
    face = gallery.enroll("default", subject).faces[0]
    assert gallery.subjects.delete_face("default", face.face_id).erased
    assert subject.faces[0].png not in raw(path)
    assert subject.faces[0].embedding.tobytes()[:24] not in raw(path)
    assert subject.faces[1].png in raw(path)


def test_deleted_collection_leaves_no_bytes(gallery: Gallery, path: Path) -> None:
    gallery.collections.create("c")
    subject = known(1)
    gallery.enroll("c", subject)
    assert gallery.collections.delete("c", force=True).erased
    assert not any(trace in raw(path) for trace in traces(subject))


def test_no_copy_is_left_where_pages_were_split_and_merged(gallery: Gallery, path: Path) -> None:
    """SQLite leaves stale copies of rows that it moves between pages, secure_delete or not."""
    chance = random.Random(2)  # noqa: S311 - a reproducible order, no secret
    living: list[Enrolment] = []
    deleted: list[Enrolment] = []
    for number in range(100):
        if living and chance.random() < 0.45:
            deleted.append(living.pop(chance.randrange(len(living))))
            assert gallery.subjects.delete("default", str(deleted[-1].subject_id)).erased
        else:
            seeds = range(3 * number, 3 * number + chance.randint(1, 3))
            faces = (replace(new_face(s), png=_map(chance)) for s in seeds)
            name = f"{NAME} the {number}th"
            living.append(Enrolment(tuple(faces), f"subject-number-{number}-end", name))
            gallery.enroll("default", living[-1])
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
    assert (deletion.faces_deleted, deletion.erased) == (1, False)
    assert subject.faces[0].png in raw(path)
    reader.close()
    assert gallery.purge_expired().erased
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
    assert gallery.subjects.delete("default", "zq-1883").erased
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
    embedder = SeededEmbedder(
        "space-b", before_batch=lambda: gallery.subjects.delete("default", "zq-1883")
    )
    assert [step.faces_done for step in gallery.spaces.fill(embedder)] == [0, 1]
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
    assert gallery.subjects.delete("default", "person-2").erased
    content = raw(path)
    assert before.faces[0].png in content
    assert not [word for word in traces(before)[:4] if word in content]


def test_expired_subject_leaves_no_bytes(path: Path) -> None:
    clock = Clock()
    subject = replace(known(1), expires_at=clock.time + timedelta(hours=1))
    with Gallery(path, embedding_space=SPACE, now=clock) as gallery:
        gallery.enroll("default", subject)
        clock.time += timedelta(hours=1)
        purge = gallery.purge_expired()
        assert (purge.subjects, purge.erased) == (1, True)
        assert not any(trace in raw(path) for trace in traces(subject))


def test_the_id_stays_in_the_audit_log_until_that_expires(path: Path) -> None:
    clock = Clock()
    with Gallery(
        path, embedding_space=SPACE, now=clock, audit_retention=timedelta(days=30)
    ) as gallery:
        gallery.enroll("default", known(1), request_id="req-77")
        gallery.subjects.delete("default", "zq-1883")
        assert b"zq-1883" in raw(path)
        clock.time += timedelta(days=32)
        purge = gallery.purge_expired()
        assert (purge.audit_events, purge.erased) == (3, True)
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
