"""What is PostgreSQL's own: who owns the gallery, and what happens when the server goes away."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Servers
from shared.errors import FailedPrecondition, Unavailable
from tests.gallery_faces import SPACE, embedding, person
from tests.postgres import PostgresServer, running_postgres, server_programs


@pytest.fixture
def servers(postgres: PostgresServer, request: pytest.FixtureRequest) -> Servers:
    return postgres.create_database(f"own_{abs(hash(request.node.name))}")


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """One that the test may stop."""
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed")
    with running_postgres(programs) as server:
        yield server


def execute(servers: Servers, statement: str) -> None:
    engine = create_engine(
        servers.url.get_secret_value().replace("postgresql:", "postgresql+psycopg:")
    )
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_what_is_enrolled_is_there_after_opening_again(servers: Servers) -> None:
    with Gallery(servers, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
    with Gallery(servers, embedding_space=SPACE) as gallery:
        (hit,) = gallery.search("default", embedding(1), count=1)
        assert hit.subject_id == "person-1"
        assert gallery.check().problems == ()


def test_one_process_at_a_time_has_the_gallery(servers: Servers) -> None:
    with Gallery(servers, embedding_space=SPACE):
        with pytest.raises(FailedPrecondition) as caught:
            Gallery(servers, embedding_space=SPACE)
        assert caught.value.reason == "GALLERY_IN_USE"
    Gallery(servers, embedding_space=SPACE).close()


def test_who_was_cut_off_and_replaced_neither_answers_nor_writes(servers: Servers) -> None:
    with Gallery(servers, embedding_space=SPACE) as old:
        old.enroll("default", person(1))
        execute(
            servers,
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'",
        )
        with Gallery(servers, embedding_space=SPACE) as new:
            new.enroll("default", person(2))
            for attempt in (
                lambda: old.enroll("default", person(3)),
                lambda: old.search("default", embedding(1), count=1),
            ):
                with pytest.raises(Unavailable) as caught:
                    attempt()
                assert caught.value.reason == "GALLERY_TAKEN_OVER"
            assert len(new.subjects.list("default").items) == 2


def test_a_server_that_crashes_is_named_and_comes_back(own_server: PostgresServer) -> None:
    servers = own_server.create_database("gallery")
    with Gallery(servers, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
        own_server.stop()
        with pytest.raises(Unavailable) as caught:
            gallery.enroll("default", person(2))
        assert caught.value.reason == "GALLERY_UNAVAILABLE"
        assert "\n" not in caught.value.message
        own_server.start()
        gallery.enroll("default", person(2))
        (hit,) = gallery.search("default", embedding(2), count=1)
        assert hit.subject_id == "person-2"


def test_a_server_that_became_a_standby_is_searched(own_server: PostgresServer) -> None:
    servers = own_server.create_database("gallery")
    standby = own_server.folder / "data" / "standby.signal"
    with Gallery(servers, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
        own_server.stop()
        standby.touch()
        own_server.start()
        for _ in range(2):  # on a connection that is new, and on one that has been read from
            with pytest.raises(Unavailable) as caught:
                gallery.enroll("default", person(2))
            assert caught.value.reason == "GALLERY_READ_ONLY", caught.value.message
            assert caught.value.retry_after_s
            assert gallery.database.fault is caught.value
            with pytest.raises(Unavailable):
                gallery.database.try_writing()
            (hit,) = gallery.search("default", embedding(1), count=1)
            assert hit.subject_id == "person-1"
        own_server.stop()
        standby.unlink()
        own_server.start()
        gallery.database.try_writing()
        assert gallery.database.fault is None
        gallery.enroll("default", person(2))


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE schema_version SET version = 99", "GALLERY_TOO_NEW"),
        ("DROP TABLE labels", "NOT_A_GALLERY"),
    ],
)
def test_tables_that_are_not_ours_are_left_alone(
    servers: Servers, statement: str, reason: str
) -> None:
    Gallery(servers, embedding_space=SPACE).close()
    execute(servers, statement)
    with pytest.raises(FailedPrecondition) as caught:
        Gallery(servers, embedding_space=SPACE)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "url", ["postgresql://", "mysql://secret@here/x", "postgresql://a:secret@[/x"]
)
def test_a_url_that_leads_nowhere_is_refused_without_its_password(url: str) -> None:
    with pytest.raises((FailedPrecondition, Unavailable)) as caught:
        Gallery(Servers(SecretStr(url)), embedding_space=SPACE)
    assert caught.value.reason in {"GALLERY_URL_INVALID", "GALLERY_UNAVAILABLE"}
    assert "secret" not in caught.value.message
