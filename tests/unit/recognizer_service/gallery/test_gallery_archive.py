"""A collection is archived and restored whole; a damaged archive restores nothing."""

import sqlite3
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recognizer_service.gallery.archive.contents import archived_columns
from recognizer_service.gallery.archive.format import MAGIC, Kind, RecordWriter
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


def archive_of(gallery: Gallery, collection: str = "guests") -> bytes:
    return b"".join(gallery.archives.export(collection))


def restore(
    gallery: Gallery,
    archive: bytes,
    *,
    collection_id: str = "",
    embedder: SeededEmbedder | None = None,
    chunk: int = 1000,
) -> Imported:
    with gallery.archives.importing(collection_id=collection_id, embedder=embedder) as importer:
        for start in range(0, len(archive), chunk):
            importer.feed(archive[start : start + chunk])
        return importer.finish()


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


def assert_nothing_came(gallery: Gallery) -> None:
    listed = gallery.collections.list().items
    assert [(item.collection_id, item.face_count) for item in listed] == [("default", 0)]
    report = gallery.check()
    assert (report.ok, report.subjects, report.faces, report.indexed) == (True, 0, 0, 0)


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


Changes = dict[str, dict[str, object]]
FIELDS: Changes = {
    "header": {"format": 1, "embedding_space": SPACE, "codecs": [CODEC]},
    "collection": {
        "id": "c",
        "max_fpir": 0.01,
        "max_fmr": 0.001,
        "sighting_retention_s": 0,
        "created_at": "2026-01-01T00:00:00+00:00",
        "max_subjects": 0,
        "max_faces": 0,
        "subject_retention_s": 0,
        "subject_score": "best_face",
    },
    "subject": {
        "id": "s",
        "display_name": "",
        "created_at": "2026-01-01T00:00:00+00:00",
        "metadata": {},
        "expires_at": None,
        "revision": 1,
        "labels": [],
    },
    "face": {
        "id": "f",
        "codec_id": CODEC,
        "quality": None,
        "captured_at": None,
        "created_at": "2026-01-01T00:00:00+00:00",
        "png_bytes": 200,
    },
}


def forged(changes: Changes | None = None, *, blob: bytes | None = None) -> bytes:
    """An archive of one face with some fields changed, its checksums right."""
    parts = {name: fields | (changes or {}).get(name, {}) for name, fields in FIELDS.items()}
    face = new_face(1).png + embedding(1).tobytes() if blob is None else blob
    writer = RecordWriter()
    return b"".join(
        [
            writer.header({"collection": parts["collection"]} | parts["header"]),
            writer.record(Kind.SUBJECT, parts["subject"]),
            writer.record(Kind.FACE, parts["face"], face),
            writer.end(),
        ]
    )


def test_a_forged_archive_that_is_right_in_all_is_taken(other: Gallery) -> None:
    assert restore(other, forged()).faces == 1


@pytest.mark.parametrize(
    ("record", "changes"),
    [
        (1, {"header": {"embedding_space": None}}),
        (1, {"header": {"codecs": [1]}}),
        (1, {"header": {"collection": None}}),
        (1, {"collection": {"id": "No Name"}}),
        (1, {"collection": {"max_fpir": 2}}),
        (1, {"collection": {"max_fmr": "0.1"}}),
        (1, {"collection": {"created_at": "yesterday"}}),
        (1, {"collection": {"face_count": 9}}),
        (2, {"subject": {"id": ""}}),
        (2, {"subject": {"id": 7}}),
        (2, {"subject": {"display_name": "x" * 300}}),
        (2, {"subject": {"created_at": "2026-01-01T00:00:00"}}),
        (2, {"subject": {"labels": ["a", "a"]}}),
        (2, {"subject": {"labels": "a"}}),
        (2, {"subject": {"metadata": []}}),
        (2, {"subject": {"revision": True}}),
        (2, {"subject": {"revision": -5}}),
        (2, {"subject": {"revision": 0}}),
        (2, {"subject": {"revision": 2**63}}),
        (2, {"subject": {"revision": 10**400}}),
        (2, {"subject": {"revision": 1.0}}),
        (2, {"subject": {"created_at": "9999-12-31T23:59:59-23:59"}}),
        (2, {"subject": {"created_at": "0001-01-01T00:00:00+23:59"}}),
        (2, {"subject": {"expires_at": "9999-12-31T23:59:59-23:59"}}),
        (2, {"subject": {"id": "\ud800"}}),
        (2, {"subject": {"id": " ann"}}),
        (2, {"subject": {"id": "a\u202ena"}}),
        (2, {"subject": {"display_name": "\udfff"}}),
        (2, {"subject": {"labels": ["\ud800"]}}),
        (2, {"subject": {"metadata": {"\ud800": ""}}}),
        (2, {"subject": {"metadata": {"a": {"b": 1}}}}),
        (2, {"subject": {"metadata": {"a": None}}}),
        (1, {"header": {"embedding_space": "\ud800"}}),
        (1, {"collection": {"max_fpir": 10**400}}),
        (1, {"collection": {"max_fpir": True}}),
        (1, {"collection": {"max_subjects": 2**63}}),
        (1, {"collection": {"max_faces": -1}}),
        (1, {"collection": {"subject_retention_s": 2**70}}),
        (1, {"collection": {"sighting_retention_s": -1}}),
        (1, {"collection": {"created_at": "9999-12-31T23:59:59-23:59"}}),
        (3, {"face": {"png_bytes": 200.0}}),
        (3, {"face": {"png_bytes": -5}}),
        (3, {"face": {"quality": 10**400}}),
        (3, {"face": {"captured_at": "0001-01-01T00:00:00+01:00"}}),
        (3, {"face": {"quality": 2.0}}),
        (3, {"face": {"png_bytes": 199}}),
        (3, {"face": {"codec_id": ""}}),
    ],
)
def test_a_record_that_breaks_a_limit_is_named(
    other: Gallery, record: int, changes: Changes
) -> None:
    with pytest.raises(InvalidInput) as refused:
        restore(other, forged(changes))
    assert refused.value.reason == "ARCHIVE_DAMAGED"
    assert refused.value.metadata["record"] == str(record)
    assert_nothing_came(other)


def test_an_embedding_that_is_none_is_refused(other: Gallery) -> None:
    for blob in (b"\0" * 2248, new_face(1).png + b"\xff" * 2048):
        with pytest.raises(InvalidInput, match="record 3 at byte"):
            restore(other, forged(blob=blob))


@pytest.mark.parametrize(
    "line",
    [
        b'{"quality": NaN}',
        b'{"quality": Infinity}',
        b'{"quality": -Infinity}',
        b'{"quality": 1e999}',
        b"[" * 500_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"id": "\\ud800"}',
        b'{"id": "\xff"}',
        b'{"id": 1' + b"0" * 5000 + b"}",
        '{"id": "a"}'.encode("utf-16"),
    ],
    ids=range(10),
)
def test_a_line_that_no_archive_is_written_with_is_refused(other: Gallery, line: bytes) -> None:
    body = struct.pack(">cI", b"H", len(line) + 1) + line + b"\n"
    with pytest.raises(InvalidInput, match="record 1 at byte 8"):
        restore(other, MAGIC + body + struct.pack(">I", zlib.crc32(body)), chunk=1 << 20)
    assert_nothing_came(other)


def test_a_blob_shorter_than_an_embedding_is_refused(other: Gallery) -> None:
    for size in (0, 1, 2043, 2047, 2048):
        with pytest.raises(InvalidInput, match="record 3 at byte"):
            restore(other, forged({"face": {"png_bytes": size - 2048}}, blob=bytes(size)))


def test_a_retention_that_ends_after_the_last_year_there_is_ends_with_it(other: Gallery) -> None:
    restore(
        other,
        forged(
            {
                "collection": {"subject_retention_s": 3_000_000_000},
                "subject": {"created_at": "9999-12-31T00:00:00+00:00"},
            }
        ),
    )
    (subject,) = other.subjects.list("c").items
    assert subject.expires_at is not None
    assert subject.expires_at.year == 9999
    assert other.purge_expired().subjects == 0


def test_ids_and_labels_come_in_their_one_spelling(other: Gallery) -> None:
    restore(other, forged({"subject": {"id": "Zoe\u0308", "labels": ["e\u0301", "\u00e9"]}}))
    subject, _ = other.subjects.get("c", "Zoe\u0308")
    assert (subject.subject_id, subject.labels) == ("Zo\u00eb", ("\u00e9",))


class NoMaps(SeededEmbedder):
    """Knows the codec, and that these are none of its maps."""

    def check(self, codec_id: str, png: bytes) -> None:
        raise InvalidInput("INVALID_COMPACT_MAP", f"{codec_id} is no map of {len(png)} bytes")


def test_a_map_that_no_later_model_could_embed_is_refused(other: Gallery) -> None:
    with pytest.raises(InvalidInput, match=r"record 3 at byte .* cannot be decoded"):
        restore(other, forged(), embedder=NoMaps(SPACE))
    assert_nothing_came(other)


def test_an_archive_of_a_later_format_is_refused(other: Gallery) -> None:
    with pytest.raises(InvalidInput, match="format 3") as refused:
        restore(other, forged({"header": {"format": 3}}))
    assert refused.value.reason == "ARCHIVE_TOO_NEW"


def test_an_unknown_kind_of_record_is_refused(other: Gallery) -> None:
    body = struct.pack(">cI", b"X", 3) + b"{}\n"
    with pytest.raises(InvalidInput, match="record 1 at byte 8"):
        restore(other, MAGIC + body + struct.pack(">I", zlib.crc32(body)))


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
