"""A collection is archived and restored whole; a damaged archive restores nothing."""

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recognizer_service.gallery.archive.contents import archived_columns
from recognizer_service.gallery.archive.format import MAGIC
from recognizer_service.gallery.archive.importing import Imported
from recognizer_service.gallery.audit import Operation
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.schema import collections, faces, subjects
from recognizer_service.gallery.types import EmbeddingSpaceChanged, Enrolment
from shared.errors import (
    AlreadyExists,
    CompactfaceError,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    UnknownCodec,
)
from tests.gallery_embedder import CODEC, SeededEmbedder, probe
from tests.gallery_faces import SPACE, embedding, new_face, person, wait_until_erased
from tests.unit.recognizer_service.gallery.archives import archive_of, assert_nothing_came, restore

CAPTURED = datetime(2026, 3, 1, 12, 30, 15, 123456, UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


@pytest.fixture
def gallery(path: Path) -> Iterator[Gallery]:
    """Three people, in a collection that has no default left."""
    with Gallery(path, embedding_space=SPACE) as opened:
        opened.collections.create("guests", max_fpir=0.02, max_fmr=3e-5, sighting_retention_s=60)
        first = replace(new_face(1), captured_at=CAPTURED, quality=None)
        opened.enroll("guests", Enrolment((first, new_face(2)), "ada", "Ada Lovelace"))
        opened.enroll("guests", Enrolment((new_face(3),), "Ünal ☂", ""))
        lost = opened.enroll("guests", person(4, subject_id="faceless"))
        opened.subjects.delete_face("guests", lost.faces[0].face_id)
        yield opened


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Gallery]:
    """An empty gallery on another machine."""
    with Gallery(tmp_path / "other" / "gallery.sqlite", embedding_space=SPACE) as opened:
        yield opened


def content(path: Path, collection: str) -> list[tuple[object, ...]]:
    """Everything the file holds of a collection, but for keys."""
    query = """
        SELECT c.max_fpir, c.max_fmr, c.sighting_retention_s, c.created_at, c.subject_count,
            c.face_count, s.id, s.display_name, s.created_at, f.id, f.codec_id, f.png, f.quality,
            f.captured_at, f.created_at, e.space, e.vector
        FROM collections c JOIN subjects s ON s.collection_key = c.key
            LEFT JOIN faces f ON f.subject_key = s.key LEFT JOIN embeddings e ON e.face_key = f.key
        WHERE c.id = ? ORDER BY s.key, f.key
    """
    connection = sqlite3.connect(path)
    rows = connection.execute(query, [collection]).fetchall()
    connection.close()
    return rows


@pytest.mark.parametrize("chunk", [1, 7, 4096, 1 << 20])
def test_a_restored_collection_is_the_archived_one(
    gallery: Gallery, other: Gallery, path: Path, tmp_path: Path, chunk: int
) -> None:
    done = restore(other, archive_of(gallery), chunk=chunk)
    assert done == Imported("guests", subjects=3, faces=3, reembedded=False)
    there = tmp_path / "other" / "gallery.sqlite"
    assert content(there, "guests") == content(path, "guests")
    assert len(content(there, "guests")) == 4
    assert other.search("guests", embedding(2), count=1)[0].subject_id == "ada"
    assert other.check().ok


def test_a_required_liveness_is_restored(gallery: Gallery, other: Gallery) -> None:
    """It is in the archive only where it is required, which earlier versions do not know."""
    assert b"min_liveness" not in archive_of(gallery)
    gallery.collections.update("guests", min_liveness=0.75)
    restore(other, archive_of(gallery))
    assert other.collections.get("guests").min_liveness == 0.75


def test_an_archive_of_a_restored_collection_is_the_same_archive(
    gallery: Gallery, other: Gallery
) -> None:
    archive = archive_of(gallery)
    restore(other, archive)
    assert archive_of(other) == archive


def test_an_archive_holds_every_field_that_its_format_promises() -> None:
    """Who adds a column raises the format of the archive, and says so in its documentation."""
    documentation = Path(__file__).parents[4] / "docs" / "gallery-archive.md"
    described = documentation.read_text(encoding="utf-8")
    for table in (collections, subjects, faces):
        for column in archived_columns(table):
            assert f"`{column.name}`" in described, f"{table.name}.{column.name}"


def test_many_subjects_and_labels_come_through(
    gallery: Gallery, other: Gallery, path: Path, tmp_path: Path
) -> None:
    gallery.collections.create("many")
    for seed in range(0, 300, 2):
        gallery.enroll("many", person(seed, seed + 1))
    outside = sqlite3.connect(path)
    outside.execute("INSERT INTO labels SELECT key, 'tag-' || id FROM subjects")
    outside.execute('UPDATE subjects SET metadata = \'{"door": "b"}\'')
    outside.commit()
    outside.close()
    assert restore(other, archive_of(gallery, "many")).faces == 300
    assert content(tmp_path / "other" / "gallery.sqlite", "many") == content(path, "many")
    inside = sqlite3.connect(tmp_path / "other" / "gallery.sqlite")
    tagged = "SELECT count(*) FROM labels l JOIN subjects s ON l.subject_key = s.key"
    query = f"{tagged} WHERE l.label = 'tag-' || s.id AND metadata = '{{\"door\": \"b\"}}'"
    assert inside.execute(query).fetchone() == (150,)
    inside.close()
    assert other.check().ok


def test_a_collection_that_holds_something_is_not_overwritten(gallery: Gallery) -> None:
    archive = archive_of(gallery)
    with pytest.raises(AlreadyExists, match="guests") as refused:
        restore(gallery, archive)
    assert refused.value.reason == "COLLECTION_EXISTS"
    assert archive_of(gallery) == archive


def test_an_empty_collection_is_replaced(gallery: Gallery, other: Gallery) -> None:
    restore(other, archive_of(gallery), collection_id="default")
    assert other.collections.get("default").max_fpir == 0.02
    assert other.search("default", embedding(3), count=1)[0].subject_id == "Ünal ☂"
    assert other.check().ok


def test_a_copy_beside_the_original_has_faces_of_its_own(gallery: Gallery) -> None:
    restore(gallery, archive_of(gallery), collection_id="copy")
    original = {face.face_id for face in gallery.subjects.list_faces("guests", "ada")}
    assert original.isdisjoint(face.face_id for face in gallery.subjects.list_faces("copy", "ada"))
    gallery.subjects.delete("copy", "ada")
    assert gallery.search("guests", embedding(1), count=1)[0].subject_id == "ada"
    assert gallery.check().ok


def test_an_archive_of_another_space_is_embedded_anew_from_its_maps(
    gallery: Gallery, tmp_path: Path
) -> None:
    archive = archive_of(gallery)
    with Gallery(tmp_path / "b" / "gallery.sqlite", embedding_space="space-b") as newer:
        done = restore(newer, archive, embedder=SeededEmbedder("space-b"))
        assert done.reembedded
        hit = newer.search("guests", probe(2, "space-b"), count=1)[0]
        assert (hit.subject_id, round(hit.similarity, 5)) == ("ada", 1)
        assert newer.check().ok


def test_subjects_without_faces_are_restored_into_another_space(
    gallery: Gallery, tmp_path: Path
) -> None:
    for subject in gallery.subjects.list("guests").items:
        for face in gallery.subjects.list_faces("guests", subject.subject_id):
            gallery.subjects.delete_face("guests", face.face_id)
    with Gallery(tmp_path / "b" / "gallery.sqlite", embedding_space="space-b") as newer:
        done = restore(newer, archive_of(gallery), embedder=SeededEmbedder("space-b"))
        assert (done.subjects > 0, done.faces) == (True, 0)
        assert newer.check().ok


def test_an_archive_of_another_space_needs_a_model_that_decodes_it(
    gallery: Gallery, tmp_path: Path
) -> None:
    archive = archive_of(gallery)
    with Gallery(tmp_path / "b" / "gallery.sqlite", embedding_space="space-b") as newer:
        with pytest.raises(FailedPrecondition) as refused:
            restore(newer, archive)
        assert refused.value.reason == "EMBEDDING_SPACE_MISMATCH"
        with pytest.raises(UnknownCodec, match=CODEC):
            restore(newer, archive, embedder=SeededEmbedder("space-b", codecs=["other"]))
        assert_nothing_came(newer)


def places_of(archive: bytes) -> list[int]:
    """Where the records begin."""
    places, place = [], len(MAGIC)
    while place < len(archive):
        places.append(place)
        place += 5 + struct.unpack_from(">I", archive, place + 1)[0] + 4
    return places


def test_any_changed_byte_is_found_and_its_record_is_named(
    gallery: Gallery, other: Gallery
) -> None:
    archive = archive_of(gallery)
    places = places_of(archive)
    assert len(places) == 1 + 3 + 3 + 1
    for position in range(len(MAGIC), len(archive), 97):
        damaged = bytearray(archive)
        damaged[position] ^= 0x20
        number = sum(place <= position for place in places)
        with pytest.raises(InvalidInput) as refused:
            restore(other, bytes(damaged))
        if refused.value.reason == "ARCHIVE_INCOMPLETE":  # a length grew beyond the end
            assert 0 < position - places[number - 1] < 5
        else:
            assert refused.value.reason == "ARCHIVE_DAMAGED"
        offset = str(places[number - 1])
        assert refused.value.metadata == {"record": str(number), "offset": offset}
        assert offset in refused.value.message or refused.value.reason == "ARCHIVE_INCOMPLETE"
    assert_nothing_came(other)


def test_an_archive_cut_anywhere_is_refused(gallery: Gallery, other: Gallery) -> None:
    archive = archive_of(gallery)
    places = places_of(archive)
    for length in [*range(0, len(archive), 499), *places, len(archive) - 1]:
        with pytest.raises(InvalidInput) as refused:
            restore(other, archive[:length])
        assert refused.value.reason == "ARCHIVE_INCOMPLETE"
        assert str(length) in refused.value.message
    assert_nothing_came(other)


def test_a_missing_or_moved_record_is_found(gallery: Gallery, other: Gallery) -> None:
    archive = archive_of(gallery)
    ends = [*places_of(archive), len(archive)]
    head, *middle, end = [archive[a:b] for a, b in zip([0, *ends[1:-1]], ends[1:], strict=True)]
    for wrong in (
        [head, *middle[1:], end],
        [head, *middle[:-1], end],
        [head, *middle, middle[-1], end],
        [head, middle[1], *middle, end],
        [head, head[len(MAGIC) :], *middle, end],
        [head, *middle, end, middle[-1]],
        [head, *middle, end, b"\0"],
        [head[: len(MAGIC)], *middle, end],
    ):
        with pytest.raises(InvalidInput) as refused:
            restore(other, b"".join(wrong))
        assert refused.value.reason == "ARCHIVE_DAMAGED"
    assert_nothing_came(other)


def test_what_is_no_archive_is_refused_at_once(other: Gallery) -> None:
    with other.archives.importing() as importer, pytest.raises(InvalidInput) as refused:
        importer.feed(b"PK")
    assert refused.value.reason == "NOT_AN_ARCHIVE"


def test_a_length_out_of_bounds_is_refused_before_its_bytes_are_waited_for(
    other: Gallery,
) -> None:
    with other.archives.importing() as importer, pytest.raises(InvalidInput, match="1048577"):
        importer.feed(MAGIC + struct.pack(">cI", b"H", (1 << 20) + 1))


def test_a_collection_is_not_seen_before_it_is_whole(gallery: Gallery, other: Gallery) -> None:
    archive = archive_of(gallery)
    with other.archives.importing() as importer:
        importer.feed(archive[:-1])
        with pytest.raises(NotFound):
            other.search("guests", embedding(1), count=1)
        assert len(other.collections.list().items) == 1
        importer.feed(archive[-1:])
        importer.finish()
    assert other.search("guests", embedding(1), count=1)[0].subject_id == "ada"


def test_what_an_unfinished_import_left_is_gone_from_the_disk(
    gallery: Gallery, other: Gallery, tmp_path: Path
) -> None:
    gallery.collections.create("many")
    for seed in range(600):
        gallery.enroll("many", person(seed))
    archive = archive_of(gallery, "many")
    with pytest.raises(CompactfaceError):
        restore(other, archive[:-1])
    wait_until_erased(other)
    left = b"".join(file.read_bytes() for file in (tmp_path / "other").iterdir())
    assert new_face(1).png not in left
    assert embedding(1).tobytes()[:24] not in left
    assert_nothing_came(other)


def test_who_is_deleted_during_an_export_is_whole_in_it_or_not_at_all(
    gallery: Gallery, other: Gallery
) -> None:
    gallery.collections.create("many")
    for seed in range(0, 200, 2):
        gallery.enroll("many", person(seed, seed + 1))
    pieces = []
    for number, piece in enumerate(gallery.archives.export("many")):
        pieces.append(piece)
        if number == 3:
            for seed in (0, 2, 196):
                gallery.subjects.delete("many", f"person-{seed}")
    assert restore(other, b"".join(pieces)) == Imported("many", 99, 198, reembedded=False)
    assert other.check().ok


def test_an_unknown_collection_is_not_exported(gallery: Gallery) -> None:
    with pytest.raises(NotFound):
        gallery.archives.export("nobody")


def test_exports_and_imports_are_audited_those_that_fail_are_not(gallery: Gallery) -> None:
    archive = b"".join(gallery.archives.export("guests", caller="alice"))
    for end in (len(archive), len(archive) - 1):
        with gallery.archives.importing(collection_id=f"copy-{end}", caller="bob") as importer:
            importer.feed(archive[:end])
            with suppress(InvalidInput):
                importer.finish()
    events = [
        (event.caller, event.operation, event.collection_id) for event in gallery.audit.list().items
    ]
    assert events[-2:] == [
        ("alice", Operation.EXPORT, "guests"),
        ("bob", Operation.IMPORT, f"copy-{len(archive)}"),
    ]


def test_an_export_ends_where_its_embeddings_were_discarded_meanwhile(gallery: Gallery) -> None:
    """It could not go on in the space that its header promises."""
    records = gallery.archives.export("guests")
    next(records)
    list(gallery.spaces.fill(SeededEmbedder("space-b")))
    gallery.spaces.serve("space-b")
    gallery.spaces.discard_others()
    with pytest.raises(EmbeddingSpaceChanged):
        list(records)


def test_an_import_is_undone_where_the_space_changes_meanwhile(gallery: Gallery) -> None:
    archive = archive_of(gallery)
    with gallery.archives.importing(collection_id="copy") as importer:
        importer.feed(archive)
        list(gallery.spaces.fill(SeededEmbedder("space-b")))
        gallery.spaces.serve("space-b")
        with pytest.raises(EmbeddingSpaceChanged):
            importer.finish()
    assert [item.collection_id for item in gallery.collections.list().items] == [
        "default",
        "guests",
    ]
    assert gallery.check().ok
