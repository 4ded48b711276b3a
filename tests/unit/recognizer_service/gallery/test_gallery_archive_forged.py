"""What an archive may say: one that breaks a limit restores nothing and names the record."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from recognizer_service.gallery.archive.format import MAGIC, Kind, RecordWriter
from recognizer_service.gallery.gallery import Gallery
from shared.errors import InvalidInput
from tests.gallery_embedder import CODEC, SeededEmbedder
from tests.gallery_faces import SPACE, embedding, new_face
from tests.unit.recognizer_service.gallery.archives import assert_nothing_came, restore

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


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    """An empty one."""
    with Gallery(tmp_path / "gallery.sqlite", embedding_space=SPACE) as opened:
        yield opened


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


def test_a_forged_archive_that_is_right_in_all_is_taken(gallery: Gallery) -> None:
    assert restore(gallery, forged()).faces == 1


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
    gallery: Gallery, record: int, changes: Changes
) -> None:
    with pytest.raises(InvalidInput) as refused:
        restore(gallery, forged(changes))
    assert refused.value.reason == "ARCHIVE_DAMAGED"
    assert refused.value.metadata["record"] == str(record)
    assert_nothing_came(gallery)


def test_an_embedding_that_is_none_is_refused(gallery: Gallery) -> None:
    for blob in (b"\0" * 2248, new_face(1).png + b"\xff" * 2048):
        with pytest.raises(InvalidInput, match="record 3 at byte"):
            restore(gallery, forged(blob=blob))


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
def test_a_line_that_no_archive_is_written_with_is_refused(gallery: Gallery, line: bytes) -> None:
    body = struct.pack(">cI", b"H", len(line) + 1) + line + b"\n"
    with pytest.raises(InvalidInput, match="record 1 at byte 8"):
        restore(gallery, MAGIC + body + struct.pack(">I", zlib.crc32(body)), chunk=1 << 20)
    assert_nothing_came(gallery)


def test_a_blob_shorter_than_an_embedding_is_refused(gallery: Gallery) -> None:
    for size in (0, 1, 2043, 2047, 2048):
        with pytest.raises(InvalidInput, match="record 3 at byte"):
            restore(gallery, forged({"face": {"png_bytes": size - 2048}}, blob=bytes(size)))


def test_a_retention_that_ends_after_the_last_year_there_is_ends_with_it(gallery: Gallery) -> None:
    restore(
        gallery,
        forged(
            {
                "collection": {"subject_retention_s": 3_000_000_000},
                "subject": {"created_at": "9999-12-31T00:00:00+00:00"},
            }
        ),
    )
    (subject,) = gallery.subjects.list("c").items
    assert subject.expires_at is not None
    assert subject.expires_at.year == 9999
    assert gallery.purge_expired().subjects == 0


def test_ids_and_labels_come_in_their_one_spelling(gallery: Gallery) -> None:
    restore(gallery, forged({"subject": {"id": "Zoe\u0308", "labels": ["e\u0301", "\u00e9"]}}))
    subject, _ = gallery.subjects.get("c", "Zoe\u0308")
    assert (subject.subject_id, subject.labels) == ("Zo\u00eb", ("\u00e9",))


class NoMaps(SeededEmbedder):
    """Knows the codec, and that these are none of its maps."""

    def check(self, codec_id: str, png: bytes) -> None:
        raise InvalidInput("INVALID_COMPACT_MAP", f"{codec_id} is no map of {len(png)} bytes")


def test_a_map_that_no_later_model_could_embed_is_refused(gallery: Gallery) -> None:
    with pytest.raises(InvalidInput, match=r"record 3 at byte .* cannot be decoded"):
        restore(gallery, forged(), embedder=NoMaps(SPACE))
    assert_nothing_came(gallery)


def test_an_archive_of_a_later_format_is_refused(gallery: Gallery) -> None:
    with pytest.raises(InvalidInput, match="format 3") as refused:
        restore(gallery, forged({"header": {"format": 3}}))
    assert refused.value.reason == "ARCHIVE_TOO_NEW"


def test_an_unknown_kind_of_record_is_refused(gallery: Gallery) -> None:
    body = struct.pack(">cI", b"X", 3) + b"{}\n"
    with pytest.raises(InvalidInput, match="record 1 at byte 8"):
        restore(gallery, MAGIC + body + struct.pack(">I", zlib.crc32(body)))
