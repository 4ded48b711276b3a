"""Every change of a gallery stands in its audit log, with ids and without names."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from recognizer_service.gallery.audit import Operation
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Location
from shared.errors import AlreadyExists, InvalidInput, NotFound
from tests.clock import Clock
from tests.gallery_faces import SPACE, person

START = Clock().time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gallery(location: Location, clock: Clock) -> Iterator[Gallery]:
    with Gallery(
        location,
        embedding_space=SPACE,
        audit_retention=timedelta(days=30),
        now=clock,
        elapsed_s=clock.elapsed_s,
    ) as opened:
        yield opened


def deeds(gallery: Gallery, **which: str) -> list[tuple[str, str, str, str]]:
    """What was done, by whom and to whom, but for the making of the gallery itself."""
    return [
        (event.operation, event.caller, event.collection_id, event.subject_id)
        for event in gallery.audit.list(**which).items
        if event.caller
    ]


def test_every_change_is_noted_with_its_caller(gallery: Gallery) -> None:
    gallery.collections.create("c", caller="root")
    gallery.collections.update("c", max_faces=9, caller="root")
    faces = gallery.enroll("c", person(1, 2, subject_id="ann", name="Ann"), caller="gate").faces
    gallery.subjects.update("c", "ann", display_name="Anna", caller="desk")
    gallery.subjects.delete_face("c", faces[0].face_id, caller="desk")
    gallery.subjects.delete("c", "ann", caller="desk")
    gallery.audit.note(Operation.EXPORT, "c", caller="root")
    gallery.collections.delete("c", caller="root")
    assert deeds(gallery) == [
        ("create_collection", "root", "c", ""),
        ("update_collection", "root", "c", ""),
        ("enroll", "gate", "c", "ann"),
        ("update_subject", "desk", "c", "ann"),
        ("delete_face", "desk", "c", "ann"),
        ("delete_subject", "desk", "c", "ann"),
        ("export", "root", "c", ""),
        ("delete_collection", "root", "c", ""),
    ]


def test_what_was_refused_or_repeated_is_not_noted(gallery: Gallery) -> None:
    gallery.enroll("default", person(1), caller="gate", request_id="r")
    gallery.enroll("default", person(1), caller="gate", request_id="r")
    with pytest.raises(AlreadyExists):
        gallery.enroll("default", replace(person(1), create_only=True), caller="gate")
    with pytest.raises(NotFound):
        gallery.subjects.delete("default", "nobody", caller="gate")
    assert deeds(gallery) == [("enroll", "gate", "default", "person-1")]


def test_an_expired_subject_is_noted_without_a_caller(gallery: Gallery, clock: Clock) -> None:
    gallery.enroll("default", replace(person(1), expires_at=START), caller="gate")
    gallery.purge_expired()
    last = gallery.audit.list().items[-1]
    assert (last.operation, last.caller) == (Operation.EXPIRE_SUBJECT, "")
    assert (last.subject_id, last.at) == ("person-1", clock.time)


def test_events_are_listed_by_collection_subject_and_time(gallery: Gallery, clock: Clock) -> None:
    gallery.collections.create("c", caller="root")
    gallery.enroll("c", person(1, subject_id="ann"), caller="gate")
    clock.time += timedelta(days=1)
    gallery.enroll("default", person(2, subject_id="ann"), caller="gate")
    assert deeds(gallery, subject_id="ann") == [
        ("enroll", "gate", "c", "ann"),
        ("enroll", "gate", "default", "ann"),
    ]
    assert len(deeds(gallery, collection_id="c")) == 2
    late = gallery.audit.list(since=clock.time).items
    assert [event.collection_id for event in late] == ["default"]


def test_pages_go_on_in_order_past_the_tenth_event(gallery: Gallery) -> None:
    for seed in range(12):
        gallery.enroll("default", person(seed), caller="gate")
    seen, token = [], ""
    while True:
        page = gallery.audit.list(page_size=5, page_token=token)
        seen += [event.subject_id for event in page.items if event.subject_id]
        if not (token := page.next_page_token):
            break
    assert seen == [f"person-{seed}" for seed in range(12)]


@pytest.mark.parametrize("token", ["x", "MTphYmM="])
def test_a_page_token_that_is_not_ours_is_refused(gallery: Gallery, token: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        gallery.audit.list(page_token=token)
    assert refused.value.reason == "INVALID_PAGE_TOKEN"


def test_events_are_kept_for_their_retention_and_go_by_whole_days(
    gallery: Gallery, clock: Clock
) -> None:
    gallery.enroll("default", person(1), caller="gate")
    clock.time = START + timedelta(days=30, hours=11)
    assert gallery.purge_expired().audit_events == 0
    clock.time = START + timedelta(days=30, hours=12)
    assert gallery.purge_expired().audit_events == 2
    assert gallery.audit.list().items == ()
