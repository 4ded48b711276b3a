from collections.abc import Iterator
from pathlib import Path

import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Location
from shared.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from tests.gallery_faces import SPACE, embedding, person


@pytest.fixture
def gallery(location: Location) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE) as opened:
        yield opened


def test_fresh_gallery_has_the_default_collection(gallery: Gallery) -> None:
    (default,) = gallery.collections.list().items
    assert default.collection_id == "default"
    assert (default.max_fpir, default.max_fmr) == (1e-2, 1e-3)
    assert default.sighting_retention_s == 24 * 3600
    assert default.subject_count == default.face_count == 0


def test_collections_survive_reopening(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    with Gallery(path, embedding_space=SPACE) as gallery:
        made = gallery.collections.create(
            "site-1", max_fpir=0.05, max_fmr=0.002, sighting_retention_s=60
        )
    with Gallery(path, embedding_space=SPACE) as gallery:
        assert gallery.collections.get("site-1") == made
        assert len(gallery.collections.list().items) == 2


@pytest.mark.parametrize("bad", ["", "Upper", "-a", "_a", "a b", "ä", "x" * 65, "a\n"])
def test_malformed_collection_id_is_refused(gallery: Gallery, bad: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        gallery.collections.create(bad)
    assert refused.value.reason == "INVALID_COLLECTION_ID"


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan"), float("inf")])
def test_impossible_default_rate_is_refused(gallery: Gallery, rate: float) -> None:
    with pytest.raises(InvalidInput, match="max_fpir"):
        gallery.collections.create("c", max_fpir=rate)
    with pytest.raises(InvalidInput, match="max_fmr"):
        gallery.collections.create("c", max_fmr=rate)


@pytest.mark.parametrize("seconds", [-1, 10**9])
def test_impossible_retention_is_refused(gallery: Gallery, seconds: int) -> None:
    with pytest.raises(InvalidInput, match=str(seconds)):
        gallery.collections.create("c", sighting_retention_s=seconds)


def test_collection_that_exists_is_not_created_again(gallery: Gallery) -> None:
    with pytest.raises(AlreadyExists) as refused:
        gallery.collections.create("default")
    assert refused.value.reason == "COLLECTION_EXISTS"


def test_collection_with_subjects_is_deleted_only_by_force(
    gallery: Gallery, location: Location
) -> None:
    gallery.collections.create("c")
    gallery.enroll("c", person(1, 2))
    with pytest.raises(FailedPrecondition) as refused:
        gallery.collections.delete("c")
    assert refused.value.reason == "COLLECTION_NOT_EMPTY"
    deletion = gallery.collections.delete("c", force=True)
    assert (deletion.faces_deleted, deletion.erasure > 0) == (2, isinstance(location, Path))
    with pytest.raises(NotFound):
        gallery.collections.get("c")
    report = gallery.check()
    assert (report.ok, report.faces, report.indexed) == (True, 0, 0)


def test_collection_made_anew_under_an_old_id_is_empty(gallery: Gallery) -> None:
    gallery.collections.create("c")
    gallery.enroll("c", person(1))
    gallery.collections.delete("c", force=True)
    gallery.collections.create("c")
    assert gallery.search("c", embedding(1), count=1) == []
    assert gallery.collections.get("c").face_count == 0


def test_pages_hold_everything_once_in_order(gallery: Gallery) -> None:
    """Also while subjects come and go between pages."""
    names = [f"n{number:02}" for number in range(10)]
    for seed, name in enumerate(reversed(names)):
        gallery.enroll("default", person(seed, subject_id=name))
    first = gallery.subjects.list("default", page_size=4)
    gallery.subjects.delete("default", "n03")
    gallery.enroll("default", person(50, subject_id="n00-late"))
    second = gallery.subjects.list("default", page_size=4, page_token=first.next_page_token)
    last = gallery.subjects.list("default", page_size=4, page_token=second.next_page_token)
    listed = [subject.subject_id for page in (first, second, last) for subject in page.items]
    assert listed == names
    assert last.next_page_token == ""


def test_full_last_page_has_no_successor(gallery: Gallery) -> None:
    gallery.collections.create("a")
    page = gallery.collections.list(page_size=2)
    assert [item.collection_id for item in page.items] == ["a", "default"]
    assert page.next_page_token == ""


@pytest.mark.parametrize("token", ["x", "####", "bm90IG91cnM=", "é"])
def test_page_token_that_is_not_ours_is_refused(gallery: Gallery, token: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        gallery.subjects.list("default", page_token=token)
    assert refused.value.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("size", [0, 1001])
def test_page_size_out_of_range_is_refused(gallery: Gallery, size: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 1000"):
        gallery.collections.list(page_size=size)


def test_faces_of_a_subject_are_listed_oldest_first_and_deleted_one_by_one(
    gallery: Gallery, location: Location
) -> None:
    gallery.enroll("default", person(1, 2, subject_id="ann"))
    gallery.enroll("default", person(3, subject_id="ann"))
    faces = gallery.subjects.list_faces("default", "ann")
    assert [face.png for face in faces] == [face.png for face in person(1, 2, 3).faces]
    deletion = gallery.subjects.delete_face("default", faces[0].face_id)
    assert (deletion.faces_deleted, deletion.erasure > 0) == (1, isinstance(location, Path))
    assert gallery.subjects.list_faces("default", "ann") == faces[1:]
    assert gallery.subjects.delete("default", "ann").faces_deleted == 2
    assert gallery.check().ok


def test_what_does_not_exist_is_not_found(gallery: Gallery) -> None:
    """A face of another collection does not exist here."""
    gallery.collections.create("other")
    foreign = gallery.enroll("other", person(1)).faces[0].face_id
    for call, reason in (
        (lambda: gallery.collections.get("x"), "COLLECTION_NOT_FOUND"),
        (lambda: gallery.collections.delete("x"), "COLLECTION_NOT_FOUND"),
        (lambda: gallery.subjects.list("x"), "COLLECTION_NOT_FOUND"),
        (lambda: gallery.subjects.get("x", "y"), "COLLECTION_NOT_FOUND"),
        (lambda: gallery.subjects.get("default", "y"), "SUBJECT_NOT_FOUND"),
        (lambda: gallery.subjects.delete("default", "y"), "SUBJECT_NOT_FOUND"),
        (lambda: gallery.subjects.list_faces("default", "y"), "SUBJECT_NOT_FOUND"),
        (lambda: gallery.subjects.get_face("default", foreign), "FACE_NOT_FOUND"),
        (lambda: gallery.subjects.delete_face("default", foreign), "FACE_NOT_FOUND"),
    ):
        with pytest.raises(NotFound) as missing:
            call()
        assert missing.value.reason == reason
