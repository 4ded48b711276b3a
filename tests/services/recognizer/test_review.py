"""Doubtful faces: like another subject, or unlike their own, whatever came first."""

from itertools import permutations

import pytest

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import (
    DOUBT_KIND_LOOKS_LIKE_ANOTHER,
    DOUBT_KIND_UNLIKE_ITS_OWN,
    ON_DUPLICATE_ALLOW,
    Collection,
    CreateCollectionRequest,
    Doubt,
    ReviewSubjectRequest,
    UpdateCollectionRequest,
)
from tests.services.asking import enroll
from tests.services.hosting import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def review(service: Service, collection: str, subject: str) -> list[Doubt]:
    request = ReviewSubjectRequest(collection=collection, subject_id=subject)
    return list((await service.gallery.ReviewSubject(request)).doubts)


async def enroll_all(service: Service, collection: str, *faces: tuple[str, CompactMap]) -> None:
    for subject, face in faces:
        await enroll(service, collection, subject, face, on_duplicate=ON_DUPLICATE_ALLOW)


async def test_two_subjects_with_one_face_are_doubted_from_both_sides(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll_all(recognizer, collection, ("ada", people[0]), ("eve", people[0]))
    await enroll_all(recognizer, collection, ("bob", people[1]))
    (ada,) = await review(recognizer, collection, "ada")
    (eve,) = await review(recognizer, collection, "eve")
    assert ada.kind == eve.kind == DOUBT_KIND_LOOKS_LIKE_ANOTHER
    assert (ada.other_subject_id, eve.other_subject_id) == ("eve", "ada")
    assert (ada.face_id, ada.other_face_id) == (eve.other_face_id, eve.face_id)
    assert ada.similarity == pytest.approx(1, abs=1e-3)
    assert 0 < ada.threshold < 1
    assert await review(recognizer, collection, "bob") == []


async def test_a_face_of_somebody_else_is_doubted_with_the_nearest_of_its_own(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll_all(recognizer, collection, *(("ada", people[n]) for n in (0, 0, 1)))
    await recognizer.gallery.UpdateCollection(
        UpdateCollectionRequest(
            collection=Collection(collection_id=collection, max_fmr=1e-6),
            update_mask={"paths": ["max_fmr"]},
        )
    )
    (doubt,) = await review(recognizer, collection, "ada")
    assert doubt.kind == DOUBT_KIND_UNLIKE_ITS_OWN
    assert doubt.other_subject_id == ""
    assert doubt.face_id != doubt.other_face_id
    assert doubt.similarity < doubt.threshold


async def test_the_doubts_do_not_depend_on_the_order_of_enrolment(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    faces = [("ada", people[0]), ("ada", people[1]), ("eve", people[0])]
    seen = []
    for number, order in enumerate(permutations(faces)):
        other = f"{collection[:50]}_{number}"
        await recognizer.gallery.CreateCollection(
            CreateCollectionRequest(collection=Collection(collection_id=other, max_fmr=1e-6))
        )
        await enroll_all(recognizer, other, *order)
        doubts = [
            (subject, doubt.kind, doubt.other_subject_id, doubt.similarity)
            for subject in ("ada", "eve")
            for doubt in await review(recognizer, other, subject)
        ]
        seen.append(sorted(doubts))
    assert seen == [seen[0]] * 6
    assert {kind for _, kind, _, _ in seen[0]} == {
        DOUBT_KIND_LOOKS_LIKE_ANOTHER,
        DOUBT_KIND_UNLIKE_ITS_OWN,
    }


async def test_a_subject_with_one_face_and_no_double_is_not_doubted(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll_all(recognizer, collection, ("ada", people[0]))
    assert await review(recognizer, collection, "ada") == []
