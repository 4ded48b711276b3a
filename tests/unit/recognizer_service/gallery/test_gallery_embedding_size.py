"""How many numbers an embedding has is its space's business, wherever the gallery is kept."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from recognizer_service.gallery.archive.format import RecordReader
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Location, Servers
from recognizer_service.gallery.types import Enrolment, NewFace
from shared.errors import FailedPrecondition, InvalidInput
from tests.gallery_embedder import CODEC, SeededEmbedder, probe, vector_of
from tests.gallery_faces import SPACE, embedding, new_face, person
from tests.locations import only_in_sqlite

NARROW, SIZE = "space-128", 128
WIDE = SeededEmbedder(SPACE)


@pytest.fixture
def narrow(location: Location) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=NARROW, embedding_size=SIZE) as opened:
        yield opened


def narrow_person(*seeds: int) -> Enrolment:
    maps = [new_face(seed).png for seed in seeds]
    faces = [NewFace(CODEC, png, vector_of(png, NARROW, SIZE)) for png in maps]
    return Enrolment(tuple(faces), f"person-{seeds[0]}")


def who(gallery: Gallery, seed: int, space: str, size: int, collection: str = "default") -> str:
    hit = gallery.search(collection, probe(seed, space, size), count=1)[0]
    assert hit.similarity == pytest.approx(1, abs=1e-3)
    return hit.subject_id


def test_faces_of_128_numbers_are_enrolled_searched_and_verified(narrow: Gallery) -> None:
    for seed in range(5):
        narrow.enroll("default", narrow_person(seed, 100 + seed))
    assert who(narrow, 3, NARROW, SIZE) == "person-3"
    assert who(narrow, 103, NARROW, SIZE) == "person-3"
    hit = narrow.similarity_to_subject("default", "person-4", probe(104, NARROW, SIZE))
    assert hit.similarity == pytest.approx(1, abs=1e-3)
    agreement = narrow.enroll("default", narrow_person(4, 204)).agreements[0]
    assert max(other.similarity for other in agreement.others) == pytest.approx(1, abs=1e-3)
    narrow.subjects.delete("default", "person-3")
    assert narrow.search("default", probe(3, NARROW, SIZE), count=1)[0].similarity < 0.9
    assert narrow.check().problems == ()


def test_an_embedding_of_another_size_is_refused(narrow: Gallery) -> None:
    for call in (
        lambda: narrow.enroll("default", person(1)),
        lambda: narrow.search("default", embedding(1), count=1),
    ):
        with pytest.raises(InvalidInput, match=r"shape \(512,\); it must be \(128,\)"):
            call()
    assert narrow.collections.get("default").face_count == 0


def test_the_gallery_knows_the_size_of_its_space(location: Location) -> None:
    with Gallery(location, embedding_space=NARROW, embedding_size=SIZE) as gallery:
        gallery.enroll("default", narrow_person(1))
    with Gallery(location, embedding_space=NARROW) as gallery:
        assert who(gallery, 1, NARROW, SIZE) == "person-1"
    with pytest.raises(FailedPrecondition, match="128 numbers in space space-128") as caught:
        Gallery(location, embedding_space=NARROW, embedding_size=256)
    assert caught.value.reason == "EMBEDDING_SIZE_MISMATCH"
    Gallery(location, embedding_space=NARROW).close()


def test_a_gallery_goes_from_512_numbers_to_128_and_back(location: Location) -> None:
    with Gallery(location, embedding_space=SPACE) as gallery:
        for seed in range(70):  # more than one batch
            gallery.enroll("default", person(seed))
        list(gallery.spaces.fill(SeededEmbedder(NARROW, size=SIZE)))
        gallery.spaces.serve(NARROW)
        assert who(gallery, 69, NARROW, SIZE) == "person-69"
        gallery.enroll("default", narrow_person(70), space=NARROW)
        assert gallery.check().problems == ()
    with Gallery(location, embedding_space=NARROW, embedding_size=SIZE) as gallery:
        assert who(gallery, 70, NARROW, SIZE) == "person-70"
        list(gallery.spaces.fill(WIDE))
        gallery.spaces.serve(SPACE)
        assert who(gallery, 70, SPACE, 512) == "person-70"
        assert gallery.search("default", embedding(7), count=1)[0].subject_id == "person-7"
        gallery.spaces.discard_others()
        assert gallery.check().problems == ()
    with Gallery(location, embedding_space=SPACE) as gallery:
        assert who(gallery, 70, SPACE, 512) == "person-70"


def test_a_space_that_was_never_embedded_in_is_not_served(narrow: Gallery) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        narrow.spaces.serve(SPACE)
    assert caught.value.reason == "EMBEDDING_SPACE_INCOMPLETE"


def restore(gallery: Gallery, archive: bytes, embedder: SeededEmbedder | None = None) -> bool:
    with gallery.archives.importing(collection_id="copy", embedder=embedder) as importer:
        importer.feed(archive)
        return importer.finish().reembedded


def header_of(archive: bytes) -> dict[str, object]:
    return dict(next(iter(RecordReader().feed(archive))).document)


def test_an_archive_of_128_numbers_is_restored_in_its_own_space_and_in_another(
    narrow: Gallery, tmp_path: Path
) -> None:
    for seed in range(3):
        narrow.enroll("default", narrow_person(seed))
    archive = b"".join(narrow.archives.export("default"))
    header = header_of(archive)
    assert (header["format"], header["embedding_size"]) == (2, SIZE)

    assert not restore(narrow, archive)
    assert who(narrow, 2, NARROW, SIZE, "copy") == "person-2"
    with Gallery(tmp_path / "wide.sqlite", embedding_space=SPACE) as wide:
        assert restore(wide, archive, WIDE)
        assert who(wide, 2, SPACE, 512, "copy") == "person-2"
        back = b"".join(wide.archives.export("copy"))
        # Programs from before can read it.
        assert header_of(back)["format"] == 1
        assert "embedding_size" not in header_of(back)
    narrow.collections.delete("copy", force=True)
    assert restore(narrow, back, SeededEmbedder(NARROW, size=SIZE))
    assert who(narrow, 2, NARROW, SIZE, "copy") == "person-2"
    assert narrow.check().problems == ()


@only_in_sqlite
def test_an_archive_that_says_another_size_of_our_space_is_damaged(
    location: Location, tmp_path: Path
) -> None:
    with Gallery(location, embedding_space=NARROW, embedding_size=SIZE) as gallery:
        gallery.enroll("default", narrow_person(1))
        archive = b"".join(gallery.archives.export("default"))
    with (
        Gallery(tmp_path / "g.sqlite", embedding_space=NARROW, embedding_size=64) as other,
        pytest.raises(InvalidInput, match="have 64 numbers, not 128") as caught,
    ):
        restore(other, archive)
    assert caught.value.reason == "ARCHIVE_DAMAGED"


@only_in_sqlite
def test_the_check_finds_an_embedding_of_the_wrong_size(location: Path) -> None:
    with Gallery(location, embedding_space=NARROW, embedding_size=SIZE) as gallery:
        gallery.enroll("default", narrow_person(1))
        gallery.enroll("default", narrow_person(2))
        with closing(sqlite3.connect(location, isolation_level=None)) as outside:
            outside.execute(
                "UPDATE embeddings SET vector = ? WHERE face_key = 2", [np.zeros(64, "f").tobytes()]
            )
        assert gallery.check().problems == (
            "face 2 has an embedding of 256 bytes in space space-128, not of 512",
        )


# What a gallery in PostgreSQL was like in version 2, the first that there was of it.
_AS_IN_VERSION_2 = (
    "DROP TABLE grouped, strangers CASCADE",
    "ALTER TABLE collections DROP COLUMN min_liveness",
    "ALTER TABLE collections DROP COLUMN max_stranger_fpir, DROP COLUMN last_stranger",
    "DROP TABLE clock, rings, alerts, alert_rules, identifications",
    "ALTER TABLE sightings DROP COLUMN seen_at",
    "ALTER TABLE embeddings DROP CONSTRAINT embeddings_space_fkey",
    "DROP TABLE spaces",
    "ALTER TABLE embeddings ADD CHECK (length(vector) = 2048)",
    "ALTER TABLE sightings ADD COLUMN space VARCHAR",
    "ALTER TABLE sightings ADD COLUMN vector BYTEA CHECK (length(vector) = 2048)",
    "UPDATE schema_version SET version = 2",
)


def execute(servers: Servers, *statements: str) -> None:
    url = servers.url.get_secret_value().replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize("location", ["postgres", "cluster"], indirect=True)
def test_a_gallery_in_postgresql_is_upgraded(location: Servers) -> None:
    with Gallery(location, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
    execute(location, *_AS_IN_VERSION_2)
    with Gallery(location, embedding_space=SPACE) as gallery:
        list(gallery.spaces.fill(SeededEmbedder(NARROW, size=SIZE)))
        gallery.spaces.serve(NARROW)
        assert who(gallery, 1, NARROW, SIZE) == "person-1"
        assert gallery.check().problems == ()
    Gallery(location, embedding_space=NARROW).close()


@pytest.mark.parametrize("location", ["cluster"], indirect=True)
def test_a_gallery_is_not_upgraded_while_others_have_it_open(location: Servers) -> None:
    with Gallery(location, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
        execute(location, *_AS_IN_VERSION_2)
        with pytest.raises(FailedPrecondition, match="stop them first") as caught:
            Gallery(location, embedding_space=SPACE)
        assert caught.value.reason == "GALLERY_IN_USE"
