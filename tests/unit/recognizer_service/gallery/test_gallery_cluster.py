"""One gallery in PostgreSQL and Milvus that several processes have open."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.index.milvus import connect
from recognizer_service.gallery.storage.locations import Milvus, Servers, parse_location
from recognizer_service.gallery.types import EmbeddingSpaceChanged, Enrolment
from shared.errors import FailedPrecondition, Unavailable
from tests.gallery_embedder import SeededEmbedder, probe
from tests.gallery_faces import SPACE, embedding, new_face, person
from tests.milvus import running_milvus, server_program
from tests.postgres import PostgresServer

pytestmark = pytest.mark.timeout(300)  # milvus-lite takes seconds to start


@pytest.fixture
def location(postgres: PostgresServer, milvus: Milvus) -> Servers:
    return postgres.create_database(f"cluster_{uuid4().hex}", milvus)


@pytest.fixture
def replicas(location: Servers) -> Iterator[tuple[Gallery, Gallery]]:
    with (
        Gallery(location, embedding_space=SPACE) as one,
        Gallery(location, embedding_space=SPACE) as other,
    ):
        yield one, other


def found(gallery: Gallery, seed: int, collection: str = "default") -> list[str]:
    return [hit.subject_id for hit in gallery.search(collection, embedding(seed), count=1)]


def test_enrolled_on_one_is_found_on_the_other_at_once(replicas: tuple[Gallery, Gallery]) -> None:
    for seed in range(5):
        replicas[seed % 2].enroll("default", person(seed))
        assert found(replicas[1 - seed % 2], seed) == [f"person-{seed}"]


def test_deleted_on_one_is_gone_on_the_other(replicas: tuple[Gallery, Gallery]) -> None:
    one, other = replicas
    one.collections.create("visitors")
    one.enroll("visitors", person(1))
    one.enroll("default", person(2, 3))
    other.subjects.delete("default", "person-2")
    assert found(one, 2) == []
    other.collections.delete("visitors", force=True)
    consistency = one.check()
    assert consistency.problems == ()
    assert consistency.indexed == 0


def test_an_embedding_space_changed_on_one_is_not_searched_by_the_other(
    replicas: tuple[Gallery, Gallery],
) -> None:
    one, other = replicas
    one.enroll("default", person(1))
    for _ in one.spaces.fill(SeededEmbedder("space-b")):
        pass
    one.spaces.serve("space-b")
    assert one.search("default", probe(1, "space-b"), count=1)[0].similarity > 0.999
    for call in (
        lambda: other.search("default", embedding(1), count=1),
        lambda: other.enroll("default", person(2)),
    ):
        with pytest.raises(EmbeddingSpaceChanged):
            call()
    other.spaces.serve("space-b")
    assert other.search("default", probe(1, "space-b"), count=1)[0].similarity > 0.999
    one.spaces.discard_others()
    assert other.check().problems == ()


def test_an_empty_gallery_changes_its_space(replicas: tuple[Gallery, Gallery]) -> None:
    for gallery in replicas:
        list(gallery.spaces.fill(SeededEmbedder("space-b")))
        gallery.spaces.serve("space-b")
    replicas[0].enroll("default", Enrolment((new_face(1),), "ada"), space="space-b")
    assert found(replicas[1], 1) == ["ada"]


def test_who_opens_with_another_model_is_told_which_space_is_served(location: Servers) -> None:
    with Gallery(location, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
    with pytest.raises(FailedPrecondition) as caught:
        Gallery(location, embedding_space="space-b")
    assert caught.value.reason == "EMBEDDING_SPACE_MISMATCH"
    assert caught.value.metadata["gallery"] == SPACE


def test_what_was_enrolled_before_the_index_was_shared_is_found(location: Servers) -> None:
    with Gallery(Servers(location.url), embedding_space=SPACE) as alone:
        alone.enroll("default", person(1))
    with Gallery(location, embedding_space=SPACE) as gallery:
        assert found(gallery, 1) == ["person-1"]


def test_without_milvus_it_opens_no_more(location: Servers) -> None:
    """Else the index would not follow."""
    Gallery(location, embedding_space=SPACE).close()
    with pytest.raises(FailedPrecondition) as caught:
        Gallery(Servers(location.url), embedding_space=SPACE)
    assert caught.value.reason == "INDEX_IN_MILVUS"


def test_a_lost_index_is_made_anew(location: Servers) -> None:
    assert location.milvus
    with Gallery(location, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
    drop_everything(location.milvus)
    with Gallery(location, embedding_space=SPACE) as gallery:
        assert found(gallery, 1) == ["person-1"]
        assert gallery.check().problems == ()


def drop_everything(milvus: Milvus) -> None:
    client = connect(milvus)
    for collection in client.list_collections():
        for alias in client.list_aliases(collection_name=collection)["aliases"]:
            client.drop_alias(alias)
        client.drop_collection(collection)
    client.close()


def test_a_deletion_that_the_index_never_heard_of_is_made_good(location: Servers) -> None:
    """As of a process that died between its commit and the index."""
    with Gallery(location, embedding_space=SPACE) as gallery:
        gallery.enroll("default", person(1))
        gallery.enroll("default", person(2))
        url = location.url.get_secret_value().replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM subjects WHERE id = 'person-1'"))
            connection.execute(text("UPDATE collections SET subject_count = 1, face_count = 1"))
        engine.dispose()
        consistency = gallery.check()
        assert consistency.problems == ()
        assert consistency.indexed == 1


def test_an_enrolment_that_the_index_missed_is_made_good_when_it_is_asked_again(
    postgres: PostgresServer,
) -> None:
    program = server_program()
    assert program
    with running_milvus(program) as milvus:
        location = postgres.create_database("outage", milvus)
        gallery = Gallery(location, embedding_space=SPACE)
        gallery.enroll("default", person(1))
    with gallery:  # and Milvus is gone
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                gallery.enroll("default", person(2), request_id="a")
            assert caught.value.reason == "INDEX_UNAVAILABLE"
        with pytest.raises(Unavailable):
            gallery.search("default", embedding(1), count=1)
    with running_milvus(program) as milvus:
        again = Servers(location.url, milvus)
        with Gallery(again, embedding_space=SPACE) as gallery:
            answer = gallery.enroll("default", person(2), request_id="a")
            assert answer.repeated
            assert found(gallery, 2) == ["person-2"]


def test_a_file_cannot_be_shared(location: Servers) -> None:
    with pytest.raises(ValueError, match="postgresql"):
        parse_location("gallery.sqlite", location.milvus)
