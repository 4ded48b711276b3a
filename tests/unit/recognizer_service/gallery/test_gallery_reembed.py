"""Embedding a gallery anew: filled beside the space that is served, then served in one step."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.reembed import Progress
from recognizer_service.gallery.storage.locations import Location
from recognizer_service.gallery.types import EmbeddingSpaceChanged
from shared.errors import FailedPrecondition, InvalidInput, UnknownCodec
from tests.gallery_embedder import CODEC, SeededEmbedder, probe
from tests.gallery_faces import SPACE, embedding, person
from tests.locations import only_in_sqlite

NEW = "space-b"


@pytest.fixture
def gallery(location: Location) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE) as opened:
        yield opened


def enroll(gallery: Gallery, *seeds: int) -> None:
    for seed in seeds:
        gallery.enroll("default", person(seed))


def change_over(gallery: Gallery, embedder: SeededEmbedder) -> None:
    list(gallery.spaces.fill(embedder))
    gallery.spaces.serve(embedder.embedding_space)


def who(gallery: Gallery, seed: int, space: str) -> str:
    """Whom the gallery finds, surely, for the face of a seed."""
    vector = embedding(seed) if space == SPACE else probe(seed, space)
    hit = gallery.search("default", vector, count=1, space=space)[0]
    return hit.subject_id if hit.similarity > 0.99 else "nobody"


def test_the_old_space_is_searched_until_the_new_one_is_served(gallery: Gallery) -> None:
    enroll(gallery, *range(100))
    steps = []
    for progress in gallery.spaces.fill(SeededEmbedder(NEW)):
        steps.append(progress)
        assert who(gallery, 7, SPACE) == "person-7"
    assert steps == [Progress(0, 100), Progress(64, 100), Progress(100, 100)]
    gallery.spaces.serve(NEW)
    assert gallery.spaces.served == NEW
    assert who(gallery, 7, NEW) == "person-7"
    assert gallery.check().ok


def test_an_embedding_of_the_other_space_is_refused_and_not_compared(gallery: Gallery) -> None:
    enroll(gallery, 1)
    change_over(gallery, SeededEmbedder(NEW))
    with pytest.raises(EmbeddingSpaceChanged):
        gallery.search("default", embedding(1), count=1, space=SPACE)
    with pytest.raises(EmbeddingSpaceChanged):
        gallery.similarity_to_subject("default", "person-1", embedding(1), space=SPACE)
    with pytest.raises(EmbeddingSpaceChanged):
        gallery.enroll("default", person(2), space=SPACE)
    assert gallery.check().faces == 1


def test_faces_enrolled_meanwhile_are_served_too(gallery: Gallery) -> None:
    enroll(gallery, *range(70))
    late = [1000, 1001]

    def enroll_one() -> None:
        if late:
            enroll(gallery, late.pop())

    change_over(gallery, SeededEmbedder(NEW, before_batch=enroll_one))
    assert who(gallery, 1000, NEW) == "person-1000"
    assert who(gallery, 1001, NEW) == "person-1001"
    assert gallery.check().ok


def test_a_space_that_lacks_a_face_is_not_served(gallery: Gallery) -> None:
    enroll(gallery, 1)
    list(gallery.spaces.fill(SeededEmbedder(NEW)))
    enroll(gallery, 2)
    with pytest.raises(FailedPrecondition, match="1 faces") as refused:
        gallery.spaces.serve(NEW)
    assert refused.value.reason == "EMBEDDING_SPACE_INCOMPLETE"
    assert who(gallery, 2, SPACE) == "person-2"


@only_in_sqlite
def test_faces_deleted_meanwhile_stay_deleted(gallery: Gallery, location: Path) -> None:
    enroll(gallery, *range(70))
    doomed = iter(["person-3", "person-68"])

    def delete_one() -> None:
        gallery.subjects.delete("default", next(doomed))

    change_over(gallery, SeededEmbedder(NEW, before_batch=delete_one))
    assert who(gallery, 3, NEW) == who(gallery, 68, NEW) == "nobody"
    report = gallery.check()
    assert (report.ok, report.faces) == (True, 68)
    content = b"".join(file.read_bytes() for file in location.parent.iterdir())
    for seed in (3, 68):
        assert probe(seed, NEW).tobytes()[:24] not in content


def test_filling_goes_on_where_it_was_left(gallery: Gallery, location: Location) -> None:
    enroll(gallery, *range(100))
    filling = gallery.spaces.fill(SeededEmbedder(NEW))
    next(filling)
    next(filling)
    gallery.close()
    rest = SeededEmbedder(NEW)
    with Gallery(location, embedding_space=SPACE) as again:
        assert list(again.spaces.fill(rest)) == [Progress(64, 100), Progress(100, 100)]
    assert rest.embedded == 36
    with Gallery(location, embedding_space=NEW) as changed:
        assert who(changed, 99, NEW) == "person-99"


def test_a_half_filled_gallery_opens_in_its_old_space_only(
    gallery: Gallery, location: Location
) -> None:
    enroll(gallery, *range(100))
    filling = gallery.spaces.fill(SeededEmbedder(NEW))
    next(filling)
    next(filling)
    gallery.close()
    for space in (NEW, "space-c"):
        with pytest.raises(FailedPrecondition) as refused:
            Gallery(location, embedding_space=space)
        assert refused.value.metadata == {"gallery": SPACE, "model": space}


def test_one_can_go_back_to_the_old_model(gallery: Gallery, location: Location) -> None:
    enroll(gallery, 1, 2)
    change_over(gallery, SeededEmbedder(NEW))
    gallery.close()
    with Gallery(location, embedding_space=SPACE) as back:
        assert who(back, 1, SPACE) == "person-1"


def test_going_back_computes_only_what_came_since(gallery: Gallery) -> None:
    enroll(gallery, 1, 2)
    change_over(gallery, SeededEmbedder(NEW))
    enroll(gallery, 3)
    back = SeededEmbedder(SPACE)
    change_over(gallery, back)
    assert back.embedded == 1
    assert who(gallery, 1, SPACE) == "person-1"


@only_in_sqlite
def test_discarded_embeddings_leave_no_bytes(gallery: Gallery, location: Path) -> None:
    enroll(gallery, 1, 2)
    change_over(gallery, SeededEmbedder(NEW))
    assert gallery.database.erased(gallery.spaces.discard_others(), wait_s=30)
    content = b"".join(file.read_bytes() for file in location.parent.iterdir())
    assert embedding(1).tobytes()[:24] not in content
    assert probe(1, NEW).tobytes() in content
    assert gallery.spaces.progress(SPACE) == Progress(0, 2)
    assert gallery.check().ok


def test_a_codec_nobody_can_decode_is_named_before_any_work_is_done(gallery: Gallery) -> None:
    enroll(gallery, 1)
    embedder = SeededEmbedder(NEW, codecs=["feedfacefeedface"])
    with pytest.raises(UnknownCodec, match=CODEC):
        next(gallery.spaces.fill(embedder))
    assert embedder.embedded == 0


def test_an_extractor_that_gives_nonsense_changes_nothing(gallery: Gallery) -> None:
    class Nonsense(SeededEmbedder):
        def embed(self, maps):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            return super().embed(maps) * float("nan")

    enroll(gallery, 1)
    with pytest.raises(InvalidInput, match="length nan"):
        list(gallery.spaces.fill(Nonsense(NEW)))
    assert gallery.spaces.progress(NEW) == Progress(0, 1)
