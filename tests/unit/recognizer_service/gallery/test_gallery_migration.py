"""A gallery file of every earlier version opens, upgraded, with all that it held."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.sightings.types import SightingFilter, SightingFinding
from recognizer_service.gallery.storage import schema
from recognizer_service.gallery.storage.locations import Servers
from shared.errors import AlreadyExists, FailedPrecondition
from tests.gallery_faces import SPACE, embedding, person

OLD_FILES = sorted((Path(__file__).parents[3] / "data").glob("gallery_v*.sql"))
WRITTEN_AT = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(params=OLD_FILES, ids=lambda file: file.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A gallery that a program of that version made: "ann" with two faces, "bob" with one."""
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(request.param.read_text())
    return path


@pytest.fixture
def gallery(old: Path) -> Iterator[Gallery]:
    with Gallery(old, embedding_space=SPACE, now=lambda: WRITTEN_AT + timedelta(days=1)) as opened:
        yield opened


def tables(path: Path) -> dict[str, object]:
    """What SQLite knows of the columns, indexes and foreign keys of every table."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
        return {
            f"{pragma} {name}": sorted(
                tuple(row)[1:] for row in connection.execute(f"PRAGMA {pragma}({name})")
            )
            for name in names
            for pragma in ("table_info", "index_list", "foreign_key_list")
        }


def test_there_is_a_file_of_every_earlier_version() -> None:
    versions = [int(file.stem.removeprefix("gallery_v")) for file in OLD_FILES]
    assert versions == list(range(1, schema.VERSION))


def test_an_upgraded_file_holds_what_it_held(gallery: Gallery) -> None:
    ann, faces = gallery.subjects.get("default", "ann")
    assert (ann.display_name, ann.created_at) == ("Ann", WRITTEN_AT)
    assert [face.png for face in faces] == [face.png for face in person(1, 2).faces]
    assert gallery.search("site-1", embedding(3), count=1)[0].subject_id == "bob"
    site = gallery.collections.get("site-1")
    assert (site.max_fpir, site.sighting_retention_s, site.face_count) == (0.05, 3600, 1)
    report = gallery.check()
    assert (report.problems, report.subjects, report.faces) == ((), 2, 3)


def test_requests_of_an_old_file_are_repeated_and_not_enrolled_again(gallery: Gallery) -> None:
    again = person(1, 2, subject_id="ann", name="Ann")
    assert gallery.enroll("default", again, caller="gate", request_id="first").repeated
    with pytest.raises(AlreadyExists, match="another body"):
        gallery.enroll("default", person(5), caller="gate", request_id="first")


@pytest.mark.parametrize("old", OLD_FILES[2:], ids=lambda file: file.stem, indirect=True)
def test_sightings_of_an_old_file_can_be_listed_and_identified(gallery: Gallery) -> None:
    """The one it has came at `WRITTEN_AT`, and was captured five minutes before."""
    gallery.collections.update("site-1", sighting_retention_s=7 * 24 * 3600)
    captured_at = WRITTEN_AT - timedelta(minutes=5)
    (seen,) = gallery.sightings.list("site-1", only=SightingFilter(until=WRITTEN_AT)).items
    assert (seen.sighting.captured_at, seen.received_at) == (captured_at, WRITTEN_AT)
    (pending,) = gallery.sightings.unidentified(after=0, most=10)
    gallery.sightings.keep_findings({pending.key: SightingFinding("no_match")})
    only = SightingFilter(since=captured_at, decisions=("no_match",))
    assert len(gallery.sightings.list("site-1", only=only).items) == 1


def test_an_upgraded_file_has_the_tables_of_a_new_one(gallery: Gallery, old: Path) -> None:
    gallery.close()
    new = old.with_name("new.sqlite")
    Gallery(new, embedding_space=SPACE).close()
    upgraded, fresh = tables(old), tables(new)
    assert upgraded == fresh


_AS_IN_VERSION_6 = (
    "DROP TABLE grouped, strangers CASCADE",
    "ALTER TABLE rings DROP COLUMN stranger_key",
    "ALTER TABLE collections DROP COLUMN max_stranger_fpir, DROP COLUMN last_stranger",
    "ALTER TABLE collections DROP COLUMN min_liveness",
    "UPDATE schema_version SET version = 6",
)
_TABLES = (
    """
    SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name
    FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
    """,
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    """
    SELECT conrelid::regclass::text, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
    """,
)


@pytest.mark.parametrize("location", ["postgres"], indirect=True)
def test_an_upgraded_postgresql_has_the_tables_of_a_new_one_and_its_content(
    location: Servers,
) -> None:
    url = location.url.get_secret_value().replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url, poolclass=NullPool)

    def tables_there() -> list[object]:
        with engine.connect() as connection:
            return [connection.execute(text(query)).all() for query in _TABLES]

    with Gallery(location, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
    new = tables_there()
    with engine.begin() as connection:
        for statement in _AS_IN_VERSION_6:
            connection.execute(text(statement))
    with Gallery(location, embedding_space=SPACE) as gallery:
        assert gallery.search("default", embedding(1), count=1)[0].subject_id == "person-1"
        assert gallery.collections.get("default").max_stranger_fpir == 0
    assert tables_there() == new


@pytest.mark.parametrize("old", OLD_FILES[:1], ids=lambda file: file.stem, indirect=True)
def test_an_upgrade_that_fails_leaves_the_file_as_it_was(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE spaces (id)")  # in the way
    before = tables(old)
    with pytest.raises(FailedPrecondition, match="spaces"):
        Gallery(old, embedding_space=SPACE)
    assert tables(old) == before


@pytest.mark.parametrize("old", OLD_FILES[:2], ids=lambda file: file.stem, indirect=True)
def test_ids_of_an_old_file_get_their_one_spelling_and_nobody_is_lost(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        rename = "UPDATE subjects SET id = ? WHERE id = ?"
        connection.execute(rename, ("Jose\u0301", "ann"))
        insert = (
            "INSERT INTO subjects (key, collection_key, id, display_name, created_at) "
            "VALUES (?, 1, ?, '', 0)"
        )
        connection.execute(insert, (7, "Zoe\u0308"))
        connection.execute(insert, (8, "Zo\u00eb"))
        connection.execute("UPDATE collections SET subject_count = subject_count + 2 WHERE key = 1")
        connection.commit()
    with Gallery(old, embedding_space=SPACE) as gallery:
        ids = [subject.subject_id for subject in gallery.subjects.list("default").items]
        assert ids == ["Jos\u00e9", "Zo\u00eb", "Zo\u00eb-7"]
        assert len(gallery.subjects.get("default", "Jose\u0301")[1]) == 2
        assert gallery.check().ok
