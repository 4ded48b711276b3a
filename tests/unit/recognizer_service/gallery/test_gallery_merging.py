"""Two subjects that are one person: all that is known of one becomes the other's, or nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from recognizer_service.gallery.alerts.rules import AlertRule
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.limits import MAX_TAGS
from recognizer_service.gallery.sightings.types import (
    Sighting,
    SightingFilter,
    SightingFinding,
    SightingMatch,
)
from recognizer_service.gallery.storage.locations import Location
from shared.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from tests.gallery_faces import CODEC, SPACE, embedding, person, store, wait_until_erased

SIGHTING = "b54f8ac9-5c2b-4e55-a2a4-4b40c4ba6b0b"


@pytest.fixture
def gallery(location: Location) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE) as opened:
        opened.enroll("default", replace(person(1, 2, subject_id="ann"), labels=("crew",)))
        other = person(3, subject_id="anne", name="Ann Lee")
        opened.enroll("default", replace(other, labels=("night",), metadata={"badge": "7"}))
        yield opened


def operations(gallery: Gallery) -> list[tuple[str, str, str]]:
    events = gallery.audit.list(collection_id="default").items
    return [(event.operation, event.subject_id, event.caller) for event in events]


def test_the_remaining_subject_has_the_faces_of_both(gallery: Gallery) -> None:
    faces = [face.face_id for face in gallery.subjects.list_faces("default", "anne")]
    merged = gallery.merge("default", "ann", "anne", caller="clerk")
    assert (merged.faces_moved, merged.repeated) == (1, False)
    subject, now = gallery.subjects.get("default", "ann")
    assert merged.subject == subject
    assert [face.face_id for face in now][2:] == faces
    assert (subject.display_name, subject.labels) == ("Ann Lee", ("crew", "night"))
    assert (subject.metadata, subject.revision) == ({}, 2)
    (hit,) = gallery.search("default", embedding(3), count=1)
    assert (hit.subject_id, hit.face_id) == ("ann", faces[0])
    with pytest.raises(NotFound):
        gallery.subjects.get("default", "anne")
    collection = gallery.collections.get("default")
    assert (collection.subject_count, collection.face_count) == (1, 3)
    assert not gallery.check().problems
    assert operations(gallery)[-2:] == [
        ("merge_subjects", "ann", "clerk"),
        ("delete_subject", "anne", "clerk"),
    ]


def test_sightings_and_alert_rules_follow_the_person(gallery: Gallery) -> None:
    store(gallery, "default", Sighting(SIGHTING, "door", CODEC, b"map"))
    (seen,) = gallery.sightings.unidentified(after=0, most=1)
    match = SightingMatch("anne", "Ann Lee", "face", 0.9, 0.5, 1e-3, 3, extrapolated=False)
    gallery.sightings.keep_findings({seen.key: SightingFinding("match", "", match)})
    gallery.alert_rules.create("default", AlertRule(subject_id="anne"))
    gallery.merge("default", "ann", "anne")
    assert gallery.sightings.list("default", only=SightingFilter(subject_id="ann")).items
    assert [rule.subject_id for rule in gallery.alert_rules.list("default").items] == ["ann"]


def test_a_name_that_is_there_stays(gallery: Gallery) -> None:
    merged = gallery.merge("default", "anne", "ann")
    assert (merged.subject.display_name, merged.subject.metadata) == ("Ann Lee", {"badge": "7"})
    assert merged.faces_moved == 2


def test_a_repeated_request_changes_nothing(gallery: Gallery) -> None:
    gallery.merge("default", "ann", "anne", caller="clerk", request_id="r")
    gallery.enroll("default", person(4, subject_id="anne"))  # somebody new with the old id
    again = gallery.merge("default", "ann", "anne", caller="clerk", request_id="r")
    assert (again.repeated, again.faces_moved, again.subject.face_count) == (True, 0, 3)
    assert gallery.subjects.get("default", "anne")[0].face_count == 1
    with pytest.raises(AlreadyExists) as caught:
        gallery.merge("default", "anne", "ann", caller="clerk", request_id="r")
    assert caught.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(AlreadyExists):
        gallery.enroll("default", person(9), caller="clerk", request_id="r")


def test_what_cannot_be_merged_stays_as_it_is(gallery: Gallery) -> None:
    gallery.enroll("default", person(*range(10, 42), subject_id="full"))
    many = tuple(f"label {number}" for number in range(MAX_TAGS))
    gallery.enroll("default", replace(person(50, subject_id="labelled"), labels=many))
    before = operations(gallery)
    for kept, merged, error, reason in (
        ("ann", "full", FailedPrecondition, "TOO_MANY_FACES"),
        ("ann", "labelled", FailedPrecondition, "TOO_MANY_LABELS"),
        ("ann", "ann", InvalidInput, "SAME_SUBJECT"),
        ("ann", "nobody", NotFound, "SUBJECT_NOT_FOUND"),
        ("nobody", "ann", NotFound, "SUBJECT_NOT_FOUND"),
        ("ann", "\0", NotFound, "SUBJECT_NOT_FOUND"),
    ):
        with pytest.raises(error) as caught:
            gallery.merge("default", kept, merged)
        assert caught.value.reason == reason
    assert operations(gallery) == before
    assert gallery.subjects.get("default", "ann")[0].face_count == 2
    assert gallery.subjects.get("default", "anne")[0].face_count == 1


def test_the_name_of_the_merged_subject_leaves_the_disk(
    gallery: Gallery, location: Location
) -> None:
    gallery.subjects.update("default", "ann", display_name="Ann")
    merged = gallery.merge("default", "ann", "anne")
    if not isinstance(location, Path):
        assert merged.erasure == 0  # PostgreSQL cannot tell
        return
    wait_until_erased(gallery)
    assert gallery.database.erased(merged.erasure)
    for file in location.parent.iterdir():
        assert b"Ann Lee" not in file.read_bytes(), file
