"""Archives with right checksums and wrong content: a typed error, or a gallery that works."""

import copy
import hashlib
import json
import math
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recognizer_service.gallery.archive.format import MAGIC, Kind, RecordReader
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.types import Enrolment, SubjectFilter
from shared.errors import CompactfaceError
from tests.clock import Clock
from tests.gallery_faces import SPACE, embedding, new_face, person

SEEDS, MUTATIONS_EACH = 4, 50
POISON: list[Any] = [
    None, True, False, 0, -1, 1, -5, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 10**400,
    math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, 0.5, 1e308, -1e308, 5e-324, 1e-320, 200.0,
    "", " ", "a", "\0", "a\nb", "\ud800", "\u202e", "\u200d", " a", "e\u0301", "x" * 129,
    "x" * 5000,
    "~", "~~1", "default", "../c", "%", "_",
    "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999+00:00",
    "0001-01-01T00:00:00+00:00", "2026-02-30T00:00:00+00:00", "2026-01-01T00:00:00", "2026-01-01",
    "mean_template", [], {}, [[]], [None], {"a": {}}, {"": ""}, {"a": "\ud800"}, ["a"] * 40,
    [[[[[[[]]]]]]],
]  # fmt: skip


@dataclass
class Written:
    """A record as it is written, right or wrong."""

    kind: bytes
    document: Any
    blob: bytes


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> list[Written]:
    """The records of two people, with all that can be said of them."""
    path = tmp_path_factory.mktemp("source") / "gallery.sqlite"
    with Gallery(path, embedding_space=SPACE) as gallery:
        gallery.collections.create("c", subject_retention_s=10**8)
        gallery.enroll("c", person(1, 2, subject_id="ann", name="Ann"))
        gallery.subjects.update("c", "ann", metadata={"badge": "1"}, labels=["day", "night"])
        gallery.enroll("c", Enrolment((new_face(3),), "bob"))
        records = RecordReader().feed(b"".join(gallery.archives.export("c")))
        return [Written(r.kind.value, dict(r.document), r.blob) for r in records]


def framed(records: list[Written]) -> bytes:
    """The archive of these records, all checksums and counts right."""
    written = bytearray(MAGIC)
    for record in records:
        written += frame(record)
    counts = {
        name: sum(record.kind == kind.value for record in records)
        for name, kind in (("subjects", Kind.SUBJECT), ("faces", Kind.FACE))
    }
    digest = hashlib.sha256(written).hexdigest()
    return bytes(written + frame(Written(Kind.END.value, counts | {"sha256": digest}, b"")))


def frame(record: Written) -> bytes:
    payload = json.dumps(record.document).encode() + b"\n" + record.blob
    body = struct.pack(">cI", record.kind, len(payload)) + payload
    return body + struct.pack(">I", zlib.crc32(body))


def mutate(records: list[Written], chance: random.Random) -> None:
    """Make one thing wrong, or strange."""
    record = chance.choice(records)
    match chance.randrange(8):
        case 0:
            records.remove(record)
        case 1:
            records.insert(chance.randrange(len(records) + 1), copy.deepcopy(record))
        case 2:
            record.blob = chance.choice(
                [b"", record.blob[:-1], record.blob + b"\0", b"\xff" * len(record.blob)]
            )
        case _:
            place, key = chance.choice(list(places(record.document)))
            if chance.random() < 0.1:
                del place[key]
            else:
                place[key] = copy.deepcopy(chance.choice(POISON))


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a document with each of its keys."""
    if isinstance(node, dict | list):
        for key in node if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from places(node[key])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_wrong_archive_gives_a_typed_error_and_the_gallery_works_on(
    archive: list[Written], tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - reproducible, no secret
    clock = Clock()
    outcomes = {"taken": 0, "refused": 0}
    with Gallery(
        tmp_path / "gallery.sqlite", embedding_space=SPACE, now=clock, elapsed_s=clock.elapsed_s
    ) as gallery:
        gallery.collections.create("before")
        gallery.enroll("before", person(9))
        for _ in range(MUTATIONS_EACH):
            records = copy.deepcopy(archive)
            for _ in range(chance.choice((1, 1, 1, 2, 3))):
                if records:
                    mutate(records, chance)
            try:
                with gallery.archives.importing(collection_id="new") as importer:
                    importer.feed(framed(records))
                    importer.finish()
            except CompactfaceError:
                outcomes["refused"] += 1
            else:
                outcomes["taken"] += 1
            assert_works(gallery)
            clock.time += timedelta(seconds=1)
        assert gallery.check().ok
    assert min(outcomes.values()) > 0, outcomes


def assert_works(gallery: Gallery) -> None:
    """Whatever was taken in can be read, found, changed, exported, and deleted."""
    names = {found.collection_id for found in gallery.collections.list().items}
    assert names - {"new"} == {"before", "default"}
    for name in names:
        gallery.collections.get(name)
        everybody = gallery.subjects.list(name, page_size=1000).items
        gallery.subjects.list(name, only=SubjectFilter(name_contains="\u00c9", labels=("day",)))
        for subject in everybody:
            again, faces = gallery.subjects.get(name, subject.subject_id)
            assert (again, len(faces)) == (subject, subject.face_count)
        archived = b"".join(gallery.archives.export(name))
        gallery.search(name, embedding(1), count=5)
        if name == "new":
            with gallery.archives.importing(collection_id="again") as importer:
                importer.feed(archived)
                importer.finish()
            for subject in everybody:
                gallery.subjects.update(name, subject.subject_id, display_name="Zoe")
                gallery.subjects.delete(name, subject.subject_id)
            gallery.collections.delete("again", force=True)
            gallery.collections.delete(name, force=True)
    gallery.purge_expired()
    gallery.audit.list(page_size=1000)
    assert gallery.search("before", embedding(9), count=1)[0].subject_id == "person-9"
