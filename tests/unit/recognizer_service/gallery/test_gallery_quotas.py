"""What a collection is set to: changed later, and held to."""

from collections.abc import Iterator
from typing import Any

import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Location
from recognizer_service.gallery.types import CollectionSettings, SubjectScore
from shared.errors import FailedPrecondition, InvalidInput, NotFound
from tests.gallery_faces import SPACE, embedding, person


@pytest.fixture
def gallery(location: Location) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE) as opened:
        yield opened


def test_every_setting_is_kept_and_changed_alone(gallery: Gallery) -> None:
    settings: CollectionSettings = {
        "max_fpir": 0.02,
        "max_fmr": 1e-4,
        "sighting_retention_s": 5,
        "max_subjects": 6,
        "max_faces": 7,
        "subject_retention_s": 8,
        "subject_score": SubjectScore.MEAN_TEMPLATE,
    }
    made = gallery.collections.create("c", **settings)
    assert {name: getattr(made, name) for name in settings} == settings
    changed = gallery.collections.update("c", max_faces=70)
    assert (changed.max_faces, changed.max_subjects, changed.max_fpir) == (70, 6, 0.02)
    assert gallery.collections.get("c") == changed


@pytest.mark.parametrize(
    "setting",
    [
        {"max_fpir": 1.0},
        {"max_fmr": float("nan")},
        {"max_subjects": -1},
        {"max_faces": 10**13},
        {"subject_retention_s": -1},
        {"sighting_retention_s": 10**9},
    ],
)
def test_an_impossible_change_is_refused(gallery: Gallery, setting: dict[str, Any]) -> None:
    before = gallery.collections.get("default")
    with pytest.raises(InvalidInput) as refused:
        gallery.collections.update("default", **setting)
    assert refused.value.field in setting
    assert gallery.collections.get("default") == before


def test_a_collection_that_does_not_exist_is_not_changed(gallery: Gallery) -> None:
    with pytest.raises(NotFound):
        gallery.collections.update("nowhere", max_faces=1)


def test_no_more_subjects_than_the_quota(gallery: Gallery) -> None:
    gallery.collections.create("c", max_subjects=1)
    gallery.enroll("c", person(1, subject_id="ann"))
    with pytest.raises(FailedPrecondition, match=r"1 subjects .* its quota is 1") as refused:
        gallery.enroll("c", person(2, subject_id="bob"))
    assert refused.value.reason == "QUOTA_EXCEEDED"
    assert refused.value.metadata == {"quota": "max_subjects", "limit": "1"}
    assert gallery.enroll("c", person(3, subject_id="ann")).subject.face_count == 2
    gallery.subjects.delete("c", "ann")
    gallery.enroll("c", person(2, subject_id="bob"))
    assert gallery.check().ok


def test_no_more_faces_than_the_quota_and_none_of_those_that_would_be_too_many(
    gallery: Gallery,
) -> None:
    gallery.collections.create("c", max_faces=3)
    gallery.enroll("c", person(1, 2))
    with pytest.raises(FailedPrecondition, match="holds 2 faces and 2 more would make 4"):
        gallery.enroll("c", person(3, 4))
    assert gallery.collections.get("c").face_count == 2
    assert gallery.collections.get("c").subject_count == 1
    gallery.enroll("c", person(3))


def test_a_quota_below_what_is_there_deletes_nothing(gallery: Gallery) -> None:
    gallery.enroll("default", person(1, 2))
    assert gallery.collections.update("default", max_faces=1).face_count == 2
    with pytest.raises(FailedPrecondition, match="its quota is 1"):
        gallery.enroll("default", person(3))
    assert gallery.search("default", embedding(2), count=1)[0].subject_id == "person-1"
