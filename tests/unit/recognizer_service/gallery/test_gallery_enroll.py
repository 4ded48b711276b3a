from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Location
from recognizer_service.gallery.types import Enrolment
from shared.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from tests.clock import Clock
from tests.gallery_faces import SPACE, embedding, from_similarity, new_face, person


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gallery(location: Location, clock: Clock) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE, now=clock, elapsed_s=clock.elapsed_s) as opened:
        yield opened


def test_enrolled_faces_are_kept_as_given(gallery: Gallery, clock: Clock) -> None:
    """What is read back is what was enrolled, times to the microsecond."""
    captured_at = datetime(2024, 5, 6, 7, 8, 9, 123457, tzinfo=UTC)
    first = replace(new_face(1), captured_at=captured_at)
    second = replace(new_face(2), quality=None)
    enrolled = gallery.enroll("default", Enrolment((first, second), "ann", "Ann Ä."))
    subject, faces = gallery.subjects.get("default", "ann")
    assert (subject, faces) == (enrolled.subject, enrolled.faces)
    assert (subject.display_name, subject.face_count) == ("Ann Ä.", 2)
    assert subject.created_at == clock.time
    assert [(face.png, face.quality, face.captured_at) for face in faces] == [
        (first.png, 0.5, captured_at),
        (second.png, None, None),
    ]
    assert gallery.subjects.get_face("default", faces[1].face_id) == faces[1]


def test_subject_without_an_id_gets_one(gallery: Gallery) -> None:
    made = {
        gallery.enroll("default", Enrolment((new_face(seed),))).subject.subject_id
        for seed in range(3)
    }
    assert len(made) == 3


def test_known_subject_gains_faces_and_keeps_its_name(gallery: Gallery) -> None:
    gallery.enroll("default", person(1, subject_id="ann", name="Ann"))
    subject = gallery.enroll("default", person(2, subject_id="ann")).subject
    assert (subject.display_name, subject.face_count) == ("Ann", 2)
    renamed = gallery.enroll("default", person(3, subject_id="ann", name="Anna")).subject
    assert renamed.display_name == "Anna"
    collection = gallery.collections.get("default")
    assert (collection.subject_count, collection.face_count) == (1, 3)


def test_create_only_refuses_a_known_subject(gallery: Gallery) -> None:
    gallery.enroll("default", person(1))
    with pytest.raises(AlreadyExists) as refused:
        gallery.enroll("default", replace(person(1), create_only=True))
    assert refused.value.reason == "SUBJECT_EXISTS"
    assert gallery.collections.get("default").face_count == 1


def test_repeated_request_gives_the_first_answer_and_adds_nothing(gallery: Gallery) -> None:
    """Even if the embedding differs in its last bits, as it may from batch to batch."""
    first = gallery.enroll("default", person(1), caller="a", request_id="r")
    nudged = embedding(99, like=1, cosine=0.99999)
    again = replace(person(1), faces=(new_face(1, nudged),))
    second = gallery.enroll("default", again, caller="a", request_id="r")
    assert not first.repeated
    assert second == replace(first, repeated=True)
    assert gallery.check().faces == 1


def test_repeated_request_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    with Gallery(path, embedding_space=SPACE) as gallery:
        first = gallery.enroll("default", person(1), request_id="r")
    with Gallery(path, embedding_space=SPACE) as gallery:
        second = gallery.enroll("default", person(1), request_id="r")
    assert second == replace(first, repeated=True)


@pytest.mark.parametrize(
    "other",
    [
        replace(person(1), display_name="x"),
        replace(person(1), create_only=True),
        person(1, subject_id="someone"),
        person(2, subject_id="person-1"),
        replace(person(1), faces=(replace(new_face(1), quality=0.6),)),
    ],
)
def test_request_id_with_another_body_is_refused(gallery: Gallery, other: Enrolment) -> None:
    gallery.enroll("default", person(1), request_id="r")
    with pytest.raises(AlreadyExists) as refused:
        gallery.enroll("default", other, request_id="r")
    assert refused.value.reason == "REQUEST_ID_REUSED"


def test_request_ids_belong_to_their_caller(gallery: Gallery) -> None:
    gallery.enroll("default", person(1), caller="a", request_id="r")
    assert not gallery.enroll("default", person(2), caller="b", request_id="r").repeated


def test_request_ids_are_forgotten_after_seven_days(gallery: Gallery, clock: Clock) -> None:
    gallery.enroll("default", person(1), request_id="r")
    gallery.enroll("default", person(2), request_id="s")
    clock.time += timedelta(days=7)
    assert not gallery.enroll("default", person(3), request_id="r").repeated
    assert gallery.purge_expired().request_ids == 1
    assert gallery.enroll("default", person(3), request_id="r").repeated


def test_repeating_a_request_does_not_bring_back_who_was_deleted(gallery: Gallery) -> None:
    gallery.enroll("default", person(1), request_id="r")
    gallery.subjects.delete("default", "person-1")
    with pytest.raises(FailedPrecondition) as refused:
        gallery.enroll("default", person(1), request_id="r")
    assert refused.value.reason == "ENROLMENT_DELETED"
    assert gallery.collections.get("default").subject_count == 0


def test_duplicate_of_another_subject_is_refused_whole(gallery: Gallery) -> None:
    gallery.enroll("default", person(1))
    faces = (new_face(2), new_face(3, embedding(3, like=1, cosine=0.7)))
    with pytest.raises(AlreadyExists) as refused:
        gallery.enroll("default", Enrolment(faces, "bob"), duplicates=from_similarity(0.69))
    assert refused.value.reason == "DUPLICATE_FACE"
    assert refused.value.metadata == {"subject_id": "person-1"}
    assert refused.value.field == "maps[1]"
    assert gallery.check().faces == 1
    gallery.enroll("default", Enrolment(faces, "bob"), duplicates=from_similarity(0.71))
    gallery.enroll("default", Enrolment(faces, "carl"))
    assert gallery.check().faces == 5


def test_duplicate_is_found_behind_the_subjects_own_faces(gallery: Gallery) -> None:
    """The subject's own faces, all nearer than the stranger's, do not hide the stranger."""
    gallery.enroll("default", person(1))
    near = tuple(new_face(s, embedding(s, like=2, cosine=0.95)) for s in range(100, 131))
    gallery.enroll("default", Enrolment(near, "bob"))
    between = new_face(3, embedding(2) * 0.8 + embedding(1, like=2, cosine=0) * 0.6)
    with pytest.raises(AlreadyExists):
        gallery.enroll("default", Enrolment((between,), "bob"), duplicates=from_similarity(0.5))
    gallery.enroll("default", Enrolment((between,), "bob"), duplicates=from_similarity(0.7))


def test_duplicates_are_looked_for_in_the_same_collection_only(gallery: Gallery) -> None:
    gallery.collections.create("other")
    gallery.enroll("other", person(1))
    gallery.enroll("default", person(1), duplicates=from_similarity(0.5))


def test_a_subject_takes_32_faces_and_no_more(gallery: Gallery) -> None:
    gallery.enroll("default", person(*range(30)))
    with pytest.raises(FailedPrecondition, match="30 faces and 3 more would make 33; at most 32"):
        gallery.enroll("default", person(30, 31, 32, subject_id="person-0"))
    gallery.enroll("default", person(30, 31, subject_id="person-0"))
    assert gallery.check().faces == 32


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (Enrolment(()), "maps"),
        (person(*range(33)), "maps"),
        (person(1, subject_id="x" * 129), "subject_id"),
        (replace(person(1), subject_id=""), "subject_id"),
        (person(1, subject_id="a\nb"), "subject_id"),
        (person(1, name="x" * 257), "display_name"),
        (person(1, name="a\x00b"), "display_name"),
        (Enrolment((new_face(1), replace(new_face(2), png=b""))), "maps[1].png"),
        (Enrolment((replace(new_face(2), png=bytes(4097)),)), "maps[0].png"),
        (Enrolment((replace(new_face(2), codec_id=""),)), "maps[0].codec_id"),
        (Enrolment((replace(new_face(2), quality=float("nan")),)), "maps[0].quality"),
        (Enrolment((replace(new_face(2), quality=1.1),)), "maps[0].quality"),
        (
            Enrolment((replace(new_face(2), captured_at=datetime(2024, 1, 1)),)),  # noqa: DTZ001
            "maps[0].capture_time",
        ),
        (Enrolment((new_face(2, embedding(2) * 2),)), "maps[0].embedding"),
        (Enrolment((new_face(2, embedding(2)[:511]),)), "maps[0].embedding"),
        (Enrolment((new_face(2, np.full(512, np.nan, np.float32)),)), "maps[0].embedding"),
    ],
)
def test_bad_enrolment_is_refused_naming_the_field(
    gallery: Gallery, bad: Enrolment, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        gallery.enroll("default", bad)
    assert refused.value.field == field
    assert gallery.check().subjects == 0


@pytest.mark.parametrize("similarity", [float("nan"), 1.5])
def test_impossible_duplicate_similarity_is_refused(gallery: Gallery, similarity: float) -> None:
    with pytest.raises(InvalidInput):
        gallery.enroll("default", person(1), duplicates=from_similarity(similarity))


def test_unknown_collection_is_not_found(gallery: Gallery) -> None:
    for duplicates in (None, from_similarity(0.5)):
        with pytest.raises(NotFound) as missing:
            gallery.enroll("x" * 100, person(1), duplicates=duplicates)
        assert missing.value.reason == "COLLECTION_NOT_FOUND"
        assert missing.value.metadata == {"collection": "x" * 80}


def test_names_maps_and_embeddings_stay_out_of_reprs(gallery: Gallery) -> None:
    """Whatever of these is logged, it does not tell who or what."""
    enrolment = person(1, name="Secretive")
    shown = f"{enrolment} {gallery.enroll('default', enrolment)}"
    shown += str(gallery.search("default", embedding(1), count=1))
    assert "Secretive" not in shown
    assert repr(enrolment.faces[0].png)[:20] not in shown
    assert "array" not in shown
