import uuid
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from compactface.v1 import gallery_pb2
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import (
    Collection,
    CreateCollectionRequest,
    DeleteCollectionRequest,
    DeleteFaceRequest,
    DeleteSubjectRequest,
    GetCollectionRequest,
    GetErasureRequest,
    GetFaceRequest,
    GetSubjectRequest,
    ListCollectionsRequest,
    ListFacesRequest,
    ListSubjectsRequest,
    UpdateSubjectRequest,
)
from compactface.v1.recognizer_pb2 import (
    IDENTIFY_DECISION_EMPTY_GALLERY,
    IDENTIFY_DECISION_NO_MATCH,
)
from tests.services.asking import enroll, identify
from tests.services.hosting import Service, failure, fields_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


def new_id() -> str:
    return f"calls-{uuid.uuid4()}"


async def create(service: Service, **collection: Any) -> Collection:
    request = CreateCollectionRequest(collection=Collection(**collection))
    return (await service.gallery.CreateCollection(request)).collection


async def test_a_collection_is_created_with_what_was_asked_and_can_be_read(
    recognizer: Service,
) -> None:
    asked = {
        "collection_id": new_id(),
        "max_fpir": 0.02,
        "max_fmr": 1e-4,
        "sighting_retention": Duration(seconds=3600),
    }
    created = await create(recognizer, **asked)
    assert {name: getattr(created, name) for name in asked} == asked
    assert created.HasField("create_time")
    request = GetCollectionRequest(collection=asked["collection_id"])
    assert (await recognizer.gallery.GetCollection(request)).collection == created


async def test_a_collection_has_defaults(recognizer: Service) -> None:
    created = await create(recognizer, collection_id=new_id())
    assert (created.max_fpir, created.max_fmr) == (0.01, 0.001)
    assert created.sighting_retention == Duration(seconds=24 * 3600)


async def test_the_default_collection_is_there_from_the_start(recognizer: Service) -> None:
    answer = await recognizer.gallery.GetCollection(GetCollectionRequest())
    assert answer.collection.collection_id == "default"


async def test_a_second_collection_of_the_same_id_is_refused(recognizer: Service) -> None:
    name = new_id()
    await create(recognizer, collection_id=name)
    error = await failure(create(recognizer, collection_id=name))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", "COLLECTION_EXISTS")


async def test_collections_are_listed_by_id_page_by_page(recognizer: Service) -> None:
    made = sorted([new_id() for _ in range(3)])
    for name in made:
        await create(recognizer, collection_id=name)
    listed: list[str] = []
    request = ListCollectionsRequest(page_size=2)
    while True:
        page = await recognizer.gallery.ListCollections(request)
        assert 1 <= len(page.collections) <= 2
        listed += [collection.collection_id for collection in page.collections]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert listed == sorted(set(listed))
    assert set(made) <= set(listed)


async def test_a_collection_with_subjects_is_deleted_only_by_force(
    recognizer: Service, people: list[CompactMap]
) -> None:
    name = new_id()
    await create(recognizer, collection_id=name)
    await enroll(recognizer, name, "ada", people[0], people[1])
    request = DeleteCollectionRequest(collection=name)
    error = await failure(recognizer.gallery.DeleteCollection(request))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "COLLECTION_NOT_EMPTY")
    request.force = True
    request.erasure_wait.seconds = 30
    deleted = await recognizer.gallery.DeleteCollection(request)
    assert (deleted.faces_deleted, deleted.erased) == (2, True)
    assert (await failure(identify(recognizer, name, people[0]))).code == "NOT_FOUND"


async def test_the_collection_to_delete_has_no_default(recognizer: Service) -> None:
    error = await failure(recognizer.gallery.DeleteCollection(DeleteCollectionRequest()))
    assert error.code == "NOT_FOUND"


async def test_subjects_are_listed_by_id_page_by_page(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    for number in (2, 0, 1):
        await enroll(recognizer, collection, f"person-{number}", people[number])
    request = ListSubjectsRequest(collection=collection, page_size=2)
    first = await recognizer.gallery.ListSubjects(request)
    request.page_token = first.next_page_token
    second = await recognizer.gallery.ListSubjects(request)
    assert [[subject.subject_id for subject in page.subjects] for page in (first, second)] == [
        ["person-0", "person-1"],
        ["person-2"],
    ]
    assert second.next_page_token == ""


async def test_faces_are_listed_oldest_first_and_read_one_by_one(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    first = (await enroll(recognizer, collection, "ada", people[0])).faces
    second = (await enroll(recognizer, collection, "ada", people[1])).faces
    request = ListFacesRequest(collection=collection, subject_id="ada")
    faces = (await recognizer.gallery.ListFaces(request)).faces
    assert list(faces) == [*first, *second]
    request = GetFaceRequest(collection=collection, face_id=faces[1].face_id)
    assert (await recognizer.gallery.GetFace(request)).face == faces[1]


async def test_a_deleted_subject_is_found_no_more(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "ada", people[0], people[1])
    request = DeleteSubjectRequest(collection=collection, subject_id="ada")
    deleted = await recognizer.gallery.DeleteSubject(request)
    assert deleted.faces_deleted == 2
    answer = await identify(recognizer, collection, people[0])
    assert answer.decision == IDENTIFY_DECISION_EMPTY_GALLERY
    error = await failure(
        recognizer.gallery.GetSubject(GetSubjectRequest(collection=collection, subject_id="ada"))
    )
    assert (error.code, error.reason) == ("NOT_FOUND", "SUBJECT_NOT_FOUND")


async def test_a_deleted_face_is_found_no_more_and_its_subject_stays(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    gone, kept = (await enroll(recognizer, collection, "ada", people[0], people[1])).faces
    request = DeleteFaceRequest(collection=collection, face_id=gone.face_id)
    request.erasure_wait.seconds = 30
    assert (await recognizer.gallery.DeleteFace(request)).erased
    answer = await identify(recognizer, collection, people[0])
    assert answer.decision == IDENTIFY_DECISION_NO_MATCH
    assert [candidate.face_id for candidate in answer.candidates] == [kept.face_id]


async def test_a_deletion_answers_at_once_and_its_erasure_can_be_asked_for_later(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "ada", people[0])
    request = DeleteSubjectRequest(collection=collection, subject_id="ada")
    deleted = await recognizer.gallery.DeleteSubject(request)
    assert (deleted.erased, deleted.erasure > 0) == (False, True)
    question = GetErasureRequest(erasure=deleted.erasure)
    question.erasure_wait.seconds = 30
    assert (await recognizer.gallery.GetErasure(question)).erased


@pytest.mark.parametrize(
    ("erasure", "wait_s", "code", "reason"),
    [
        (0, 0, "INVALID_ARGUMENT", "OUT_OF_RANGE"),
        (2**63, 0, "INVALID_ARGUMENT", "OUT_OF_RANGE"),
        (2**64 - 1, 0, "INVALID_ARGUMENT", "OUT_OF_RANGE"),
        (2**63 - 1, 0, "NOT_FOUND", "ERASURE_NOT_FOUND"),
        (1, 61, "INVALID_ARGUMENT", "OUT_OF_RANGE"),
        (1, -1, "INVALID_ARGUMENT", "OUT_OF_RANGE"),
        (1, -(2**63), "INVALID_ARGUMENT", "OUT_OF_RANGE"),
    ],
)
async def test_an_erasure_that_cannot_be_asked_for(
    recognizer: Service, erasure: int, wait_s: int, code: str, reason: str
) -> None:
    question = GetErasureRequest(erasure=erasure)
    question.erasure_wait.seconds = wait_s
    error = await failure(recognizer.gallery.GetErasure(question))
    assert (error.code, error.reason) == (code, reason)


async def test_a_wait_that_is_too_long_deletes_nothing(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    (face,) = (await enroll(recognizer, collection, "ada", people[0])).faces
    by_subject = DeleteSubjectRequest(collection=collection, subject_id="ada")
    by_face = DeleteFaceRequest(collection=collection, face_id=face.face_id)
    by_collection = DeleteCollectionRequest(collection=collection, force=True)
    for call, request in (
        (recognizer.gallery.DeleteSubject, by_subject),
        (recognizer.gallery.DeleteFace, by_face),
        (recognizer.gallery.DeleteCollection, by_collection),
    ):
        request.erasure_wait.seconds = 61
        error = await failure(call(request))
        assert (error.reason, error.message) == (
            "OUT_OF_RANGE", "erasure_wait is 61 s; it must be 0 to 60"
        )  # fmt: skip
    assert (
        await recognizer.gallery.GetFace(
            GetFaceRequest(collection=collection, face_id=face.face_id)
        )
    ).face


async def test_what_was_deleted_can_be_enrolled_again(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "ada", people[0])
    request = DeleteSubjectRequest(collection=collection, subject_id="ada")
    await recognizer.gallery.DeleteSubject(request)
    enrolled = await enroll(recognizer, collection, "ada", people[0], create_only=True)
    answer = await identify(recognizer, collection, people[0])
    assert answer.candidates[0].face_id == enrolled.faces[0].face_id


async def test_a_collection_is_changed_where_the_mask_says_so(recognizer: Service) -> None:
    created = await create(recognizer, collection_id=new_id(), max_faces=5, max_fmr=0.01)
    changed = Collection()
    changed.CopyFrom(created)
    changed.max_fpir, changed.max_faces = 0.5, 0
    changed.subject_score = gallery_pb2.SUBJECT_SCORE_MEAN_TEMPLATE
    changed.subject_retention.FromSeconds(60)
    paths = ["max_faces", "subject_score", "subject_retention"]
    request = gallery_pb2.UpdateCollectionRequest(collection=changed)
    request.update_mask.paths.extend(paths)
    answer = (await recognizer.gallery.UpdateCollection(request)).collection
    assert all(getattr(answer, path) == getattr(changed, path) for path in paths)
    assert (answer.max_fpir, answer.max_fmr) == (created.max_fpir, created.max_fmr)


@pytest.mark.parametrize(
    ("paths", "reason", "field"),
    [
        ([], "INVALID_UPDATE_MASK", "update_mask"),
        (["max_fmr", "face_count"], "INVALID_UPDATE_MASK", "update_mask"),
        (["max_fmr"], "INVALID_RATE", "collection.max_fmr"),
        (["sighting_retention"], "OUT_OF_RANGE", "collection.sighting_retention"),
        (["max_fpir", "subject_score"], "INVALID_SUBJECT_SCORE", "collection.subject_score"),
    ],
)
async def test_a_change_that_cannot_be_made_is_refused(
    recognizer: Service, collection: str, paths: list[str], reason: str, field: str
) -> None:
    changed = Collection(collection_id=collection, max_fpir=0.1)
    changed.sighting_retention.FromSeconds(-1)
    if "subject_score" in paths:
        changed.subject_score = 7  # type: ignore[assignment] # a value of a later version
    request = gallery_pb2.UpdateCollectionRequest(collection=changed)
    request.update_mask.paths.extend(paths)
    error = await failure(recognizer.gallery.UpdateCollection(request))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)
    assert fields_of(error) == [field]


async def test_a_quota_is_held(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    request = gallery_pb2.UpdateCollectionRequest(
        collection=Collection(collection_id=collection, max_subjects=1)
    )
    request.update_mask.paths.append("max_subjects")
    await recognizer.gallery.UpdateCollection(request)
    await enroll(recognizer, collection, "ada", people[0])
    error = await failure(enroll(recognizer, collection, "eve", people[1]))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "QUOTA_EXCEEDED")
    assert error.metadata == {"quota": "max_subjects", "limit": "1"}


async def test_a_subject_is_changed_where_the_mask_says_so(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    said = {"display_name": "Ada", "labels": ["crew"], "metadata": {"badge": "7"}}
    enrolled = (await enroll(recognizer, collection, "ada", people[0], **said)).subject
    assert (enrolled.labels, enrolled.metadata, enrolled.revision) == (["crew"], {"badge": "7"}, 1)
    end = Timestamp(seconds=4_000_000_000)
    request = UpdateSubjectRequest(
        collection=collection, subject_id="ada", display_name="no", labels=["b", "a"], revision=1
    )
    request.expire_time.CopyFrom(end)
    request.update_mask.paths.extend(["labels", "expire_time"])
    changed = (await recognizer.gallery.UpdateSubject(request)).subject
    assert (changed.display_name, changed.labels) == ("Ada", ["a", "b"])
    assert (changed.expire_time, changed.revision) == (end, 2)
    stale = await failure(recognizer.gallery.UpdateSubject(request))
    assert (stale.code, stale.reason) == ("FAILED_PRECONDITION", "REVISION_CHANGED")


async def test_an_update_without_a_mask_changes_the_name(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "ada", people[0], labels=["crew"])
    request = UpdateSubjectRequest(collection=collection, subject_id="ada", display_name="Ada")
    changed = (await recognizer.gallery.UpdateSubject(request)).subject
    assert (changed.display_name, changed.labels) == ("Ada", ["crew"])


async def test_a_subject_cannot_be_renamed_in_its_id(recognizer: Service, collection: str) -> None:
    request = UpdateSubjectRequest(collection=collection, subject_id="ada")
    request.update_mask.paths.append("subject_id")
    error = await failure(recognizer.gallery.UpdateSubject(request))
    assert (error.reason, fields_of(error)) == ("INVALID_UPDATE_MASK", ["update_mask"])


async def test_subjects_are_filtered(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "a1", people[0], labels=["x"], display_name="Ada")
    await enroll(recognizer, collection, "a2", people[1], labels=["x", "y"])
    await enroll(recognizer, collection, "b1", people[2], labels=["y"])
    for only, found in (
        ({"labels": ["x"]}, ["a1", "a2"]),
        ({"labels": ["x", "y"]}, ["a2"]),
        ({"subject_id_prefix": "b"}, ["b1"]),
        ({"display_name_contains": "da"}, ["a1"]),
    ):
        request = ListSubjectsRequest(collection=collection, **only)
        page = await recognizer.gallery.ListSubjects(request)
        assert [subject.subject_id for subject in page.subjects] == found


async def test_deeds_are_listed_page_by_page(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "ada", people[0])
    await recognizer.gallery.DeleteSubject(
        DeleteSubjectRequest(collection=collection, subject_id="ada")
    )
    request = gallery_pb2.ListAuditEventsRequest(collection_id=collection, page_size=2)
    first = await recognizer.gallery.ListAuditEvents(request)
    request.page_token = first.next_page_token
    second = await recognizer.gallery.ListAuditEvents(request)
    assert [(event.operation, event.subject_id) for event in (*first.events, *second.events)] == [
        (gallery_pb2.AUDIT_OPERATION_CREATE_COLLECTION, ""),
        (gallery_pb2.AUDIT_OPERATION_ENROLL, "ada"),
        (gallery_pb2.AUDIT_OPERATION_DELETE_SUBJECT, "ada"),
    ]
    assert second.next_page_token == ""
