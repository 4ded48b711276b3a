"""What is said of a subject: given, changed, filtered by, and gone when its time has come."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Location
from recognizer_service.gallery.types import SubjectFilter
from shared.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from tests.clock import Clock
from tests.gallery_faces import SPACE, embedding, person

BADGE = {"badge": "7"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gallery(location: Location, clock: Clock) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE, now=clock, elapsed_s=clock.elapsed_s) as opened:
        yield opened


def listed(gallery: Gallery, **only: Any) -> list[str]:
    """The ids of those who pass a filter."""
    page = gallery.subjects.list("default", only=SubjectFilter(**only))
    return [subject.subject_id for subject in page.items]


def test_metadata_and_labels_are_kept_as_given(gallery: Gallery, clock: Clock) -> None:
    """Labels are sorted, and one given twice counts once."""
    end = clock.time + timedelta(days=9)
    enrolment = replace(
        person(1, subject_id="ann"), metadata=BADGE, labels=("night", "crew", "night")
    )
    enrolled = gallery.enroll("default", replace(enrolment, expires_at=end)).subject
    assert (enrolled.metadata, enrolled.labels) == (BADGE, ("crew", "night"))
    assert (enrolled.expires_at, enrolled.revision) == (end, 1)
    assert gallery.subjects.get("default", "ann")[0] == enrolled


def test_a_later_enrolment_changes_only_what_it_says(gallery: Gallery) -> None:
    first = replace(person(1, subject_id="ann", name="Ann"), metadata=BADGE, labels=("crew",))
    gallery.enroll("default", first)
    silent = gallery.enroll("default", person(2, subject_id="ann")).subject
    assert (silent.metadata, silent.labels, silent.revision) == (BADGE, ("crew",), 1)
    spoke = gallery.enroll("default", replace(person(3, subject_id="ann"), labels=("day",))).subject
    assert (spoke.display_name, spoke.metadata, spoke.labels) == ("Ann", BADGE, ("day",))
    assert spoke.revision == 2


def test_an_update_changes_what_is_named_and_nothing_else(gallery: Gallery) -> None:
    gallery.enroll("default", replace(person(1, subject_id="ann", name="Ann"), metadata=BADGE))
    changed = gallery.subjects.update("default", "ann", labels=["crew"], metadata={})
    assert (changed.display_name, changed.metadata, changed.labels) == ("Ann", {}, ("crew",))
    renamed = gallery.subjects.update("default", "ann", display_name="")
    assert (renamed.display_name, renamed.labels, renamed.revision) == ("", ("crew",), 3)
    assert gallery.subjects.get("default", "ann")[0] == renamed


def test_an_update_of_another_revision_is_refused(gallery: Gallery) -> None:
    gallery.enroll("default", person(1, subject_id="ann"))
    gallery.subjects.update("default", "ann", revision=1, display_name="Ann")
    with pytest.raises(FailedPrecondition, match="of revision 2, not 1") as refused:
        gallery.subjects.update("default", "ann", revision=1, display_name="Anna")
    assert refused.value.reason == "REVISION_CHANGED"
    assert gallery.subjects.get("default", "ann")[0].display_name == "Ann"


def test_an_update_of_nobody_is_not_found(gallery: Gallery) -> None:
    with pytest.raises(NotFound):
        gallery.subjects.update("default", "nobody", display_name="x")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"display_name": "x" * 257}, "display_name"),
        ({"labels": ["ok", ""]}, "labels[1]"),
        ({"labels": ["x" * 65]}, "labels[0]"),
        ({"labels": ["two\nlines"]}, "labels[0]"),
        ({"labels": [str(number) for number in range(33)]}, "labels.size"),
        ({"metadata": {str(number): "" for number in range(33)}}, "metadata.size"),
        ({"metadata": {"": "x"}}, "metadata.key"),
        ({"metadata": {"badge": "x" * 257}}, "metadata['badge']"),
    ],
)
def test_what_breaks_a_limit_is_refused(
    gallery: Gallery, changes: dict[str, Any], field: str
) -> None:
    gallery.enroll("default", person(1, subject_id="ann"))
    with pytest.raises(InvalidInput) as refused:
        gallery.subjects.update("default", "ann", **changes)
    assert refused.value.field == field
    assert gallery.subjects.get("default", "ann")[0].revision == 1


def test_a_request_repeated_with_other_labels_is_another_body(gallery: Gallery) -> None:
    gallery.enroll("default", replace(person(1), labels=("a", "b")), request_id="r")
    again = gallery.enroll("default", replace(person(1), labels=("b", "a")), request_id="r")
    assert again.repeated
    with pytest.raises(AlreadyExists, match="another body"):
        gallery.enroll("default", replace(person(1), labels=("a",)), request_id="r")


def test_subjects_are_filtered_by_id_name_and_labels(gallery: Gallery) -> None:
    for seed, (subject_id, name, labels) in enumerate(
        [
            ("site1-ann", "Ann Lee", ("crew", "night")),
            ("site1-bob", "Bob 100% Lee", ("crew",)),
            ("SITE1-cid", "Cid", ("night",)),
            ("site2-dan", "", ()),
        ]
    ):
        enrolment = person(seed, subject_id=subject_id, name=name)
        gallery.enroll("default", replace(enrolment, labels=labels))
    assert listed(gallery, id_prefix="site1-") == ["site1-ann", "site1-bob"]
    assert listed(gallery, name_contains="lEE") == ["site1-ann", "site1-bob"]
    assert listed(gallery, name_contains="0% l") == ["site1-bob"]
    assert listed(gallery, name_contains="_") == []
    assert listed(gallery, labels=("crew",)) == ["site1-ann", "site1-bob"]
    assert listed(gallery, labels=("night", "crew")) == ["site1-ann"]
    assert listed(gallery, id_prefix="site1-", labels=("night",)) == ["site1-ann"]
    assert listed(gallery, labels=("cre",)) == []


def test_filtered_pages_hold_everything_once(gallery: Gallery) -> None:
    for seed in range(7):
        labels = ("odd",) if seed % 2 else ()
        gallery.enroll("default", replace(person(seed, subject_id=f"n{seed}"), labels=labels))
    only = SubjectFilter(labels=("odd",))
    first = gallery.subjects.list("default", only=only, page_size=2)
    rest = gallery.subjects.list(
        "default", only=only, page_size=2, page_token=first.next_page_token
    )
    found = [subject.subject_id for page in (first, rest) for subject in page.items]
    assert found == ["n1", "n3", "n5"]
    assert rest.next_page_token == ""


def test_a_subject_is_deleted_when_its_time_has_come(gallery: Gallery, clock: Clock) -> None:
    end = clock.time + timedelta(hours=1)
    gallery.enroll("default", replace(person(1, 2, subject_id="guest"), expires_at=end))
    gallery.enroll("default", person(3, subject_id="staff"))
    clock.time = end - timedelta(microseconds=1)
    assert gallery.purge_expired().subjects == 0
    clock.time = end
    assert gallery.purge_expired().subjects == 1
    assert listed(gallery) == ["staff"]
    assert gallery.search("default", embedding(1), count=9)[0].subject_id == "staff"
    report = gallery.check()
    assert (report.problems, report.faces, report.indexed) == ((), 1, 1)


def test_a_collection_deletes_its_subjects_after_their_retention(
    gallery: Gallery, clock: Clock
) -> None:
    """Unless they have an end of their own; also those who were there before it was set."""
    gallery.enroll("default", person(1, subject_id="old"))
    late = clock.time + timedelta(days=99)
    gallery.enroll("default", replace(person(2, subject_id="own"), expires_at=late))
    gallery.collections.update("default", subject_retention_s=3600)
    clock.time += timedelta(minutes=30)
    new = gallery.enroll("default", person(3, subject_id="new")).subject
    assert new.expires_at == clock.time + timedelta(hours=1)
    clock.time += timedelta(minutes=30)
    assert gallery.purge_expired().subjects == 1
    assert listed(gallery) == ["new", "own"]
    gallery.subjects.update("default", "own", expires_at=None)
    assert gallery.purge_expired().subjects == 1
    assert listed(gallery) == ["new"]
