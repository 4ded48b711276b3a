import asyncio

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import (
    ON_DUPLICATE_ALLOW,
    EnrollRequest,
    GetCollectionRequest,
    GetSubjectRequest,
    GetSubjectResponse,
)
from tests.services.asking import enroll, identify, with_quality
from tests.services.hosting import Service, failure, fields_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def subject(service: Service, collection: str, subject_id: str) -> GetSubjectResponse:
    return await service.gallery.GetSubject(
        GetSubjectRequest(collection=collection, subject_id=subject_id)
    )


async def counts(service: Service, collection: str) -> tuple[int, int]:
    answer = await service.gallery.GetCollection(GetCollectionRequest(collection=collection))
    return answer.collection.subject_count, answer.collection.face_count


async def test_an_enrolment_is_answered_as_it_is_stored(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    face = with_quality(people[0], 0.75)
    face.capture_time.CopyFrom(Timestamp(seconds=1_700_000_000))
    answer = await enroll(recognizer, collection, "ada", face, display_name="Ada Lovelace")
    assert answer.subject.display_name == "Ada Lovelace"
    (enrolled,) = answer.faces
    assert enrolled.codec_id == face.codec_id
    assert enrolled.size_bytes == len(face.png)
    assert enrolled.quality == 0.75
    assert enrolled.capture_time == face.capture_time
    assert await subject(recognizer, collection, "ada") == GetSubjectResponse(
        subject=answer.subject, faces=answer.faces
    )


async def test_what_the_map_does_not_say_stays_unknown(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    bare = CompactMap(codec_id=people[0].codec_id, png=people[0].png)
    (face,) = (await enroll(recognizer, collection, "ada", bare)).faces
    assert not face.HasField("quality")
    assert not face.HasField("capture_time")
    assert face.HasField("create_time")


async def test_without_an_id_the_server_makes_one(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    one = (await enroll(recognizer, collection, "", people[0])).subject.subject_id
    two = (await enroll(recognizer, collection, "", people[1])).subject.subject_id
    assert one
    assert one != two
    answer = await identify(recognizer, collection, people[1])
    assert answer.candidates[0].subject_id == two


async def test_faces_are_added_to_a_known_subject_who_keeps_the_name(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "ada", people[0], display_name="Ada")
    added = await enroll(recognizer, collection, "ada", people[1], people[2])
    assert len(added.faces) == 2
    assert (added.subject.face_count, added.subject.display_name) == (3, "Ada")
    assert await counts(recognizer, collection) == (1, 3)


async def test_one_bad_map_and_nothing_is_enrolled(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    cut = CompactMap(codec_id=people[1].codec_id, png=people[1].png[:-1])
    error = await failure(enroll(recognizer, collection, "ada", people[0], cut))
    assert (error.reason, fields_of(error)) == ("MAP_TRUNCATED", ["maps[1].png"])
    assert await counts(recognizer, collection) == (0, 0)


async def test_a_face_that_looks_like_another_subject_is_refused_unless_allowed(
    recognizer: Service, collection: str, people: list[CompactMap], again: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "ada", people[0])
    error = await failure(enroll(recognizer, collection, "eve", people[1], again[0]))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", "DUPLICATE_FACE")
    assert error.metadata == {"subject_id": "ada"}
    assert await counts(recognizer, collection) == (1, 1)
    await enroll(recognizer, collection, "ada", again[0])
    await enroll(recognizer, collection, "eve", again[0], on_duplicate=ON_DUPLICATE_ALLOW)
    assert await counts(recognizer, collection) == (2, 3)


async def test_create_only_refuses_a_known_subject(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "ada", people[0], create_only=True)
    error = await failure(enroll(recognizer, collection, "ada", people[0], create_only=True))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", "SUBJECT_EXISTS")


async def test_a_repeated_request_is_answered_as_the_first_time_and_enrols_once(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    options = {"request_id": f"{collection}-request", "display_name": "Ada"}
    first = await enroll(recognizer, collection, "ada", people[0], **options)
    second = await enroll(recognizer, collection, "ada", people[0], **options)
    assert (first.repeated_request, second.repeated_request) == (False, True)
    assert (second.subject, list(second.faces)) == (first.subject, list(first.faces))
    assert await counts(recognizer, collection) == (1, 1)


async def test_a_request_repeated_at_the_same_time_enrols_once(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    answers = await asyncio.gather(
        *(
            enroll(recognizer, collection, "ada", people[0], request_id=f"{collection}-race")
            for _ in range(4)
        )
    )
    assert sorted(answer.repeated_request for answer in answers) == [False, True, True, True]
    assert await counts(recognizer, collection) == (1, 1)


async def test_a_request_id_with_another_body_is_refused(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    options = {"request_id": f"{collection}-reused"}
    await enroll(recognizer, collection, "ada", people[0], **options)
    error = await failure(enroll(recognizer, collection, "ada", people[1], **options))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert await counts(recognizer, collection) == (1, 1)


async def test_a_subject_has_at_most_32_faces(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "ada", *people, *people[:15])
    error = await failure(enroll(recognizer, collection, "ada", people[0], people[1]))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "TOO_MANY_FACES")
    await enroll(recognizer, collection, "ada", people[0])
    assert await counts(recognizer, collection) == (1, 32)


async def test_more_maps_than_a_subject_may_have_are_refused_before_inference(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    before = recognizer.sample("compactface_batch_size_sum")
    request = EnrollRequest(collection=collection, subject_id="ada", maps=[people[0]] * 33)
    error = await failure(recognizer.gallery.Enroll(request))
    assert (error.reason, fields_of(error)) == ("INVALID_FACE_COUNT", ["maps"])
    assert recognizer.sample("compactface_batch_size_sum") == before


async def test_the_number_of_enrolled_faces_is_a_metric(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    before = recognizer.sample("compactface_gallery_faces")
    await enroll(recognizer, collection, "ada", people[0], people[1])
    assert recognizer.sample("compactface_gallery_faces") == before + 2
