"""BulkEnroll against the real service: an answer for each, and nothing enrolled twice."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import grpc
import pytest

from compactface.client import RequestFailed
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import (
    BulkEnrollRequest,
    BulkEnrollResponse,
    EnrollRequest,
    GetCollectionRequest,
    ListSubjectsRequest,
)
from tests.services.hosting import Service, running_recognizer

pytestmark = pytest.mark.asyncio(loop_scope="session")


def item(collection: str, subject_id: str, *maps: CompactMap, **options: object) -> EnrollRequest:
    return EnrollRequest(collection=collection, subject_id=subject_id, maps=maps, **options)


async def bulk(service: Service, items: Iterable[EnrollRequest]) -> list[BulkEnrollResponse]:
    """All answers to one stream."""
    requests = (BulkEnrollRequest(enroll=each) for each in items)
    answers = [answer async for answer in service.gallery.BulkEnroll(requests)]
    assert [answer.index for answer in answers] == list(range(len(answers)))
    return answers


async def faces_in(service: Service, collection: str) -> int:
    answer = await service.gallery.GetCollection(GetCollectionRequest(collection=collection))
    return answer.collection.face_count


def reasons(answers: Iterable[BulkEnrollResponse]) -> list[str]:
    """Why each failed; "" for those that did not."""
    return [
        RequestFailed.from_status(answer.error).reason if answer.HasField("error") else ""
        for answer in answers
    ]


async def test_everybody_is_enrolled_and_answered_in_order(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    items = [item(collection, f"person-{n:02}", face) for n, face in enumerate(people)]
    answers = await bulk(recognizer, items)
    assert [answer.response.subject.subject_id for answer in answers] == [
        each.subject_id for each in items
    ]
    page = await recognizer.gallery.ListSubjects(ListSubjectsRequest(collection=collection))
    assert len(page.subjects) == await faces_in(recognizer, collection) == len(people)


async def test_maps_of_several_items_share_a_batch(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    before = recognizer.sample("compactface_batch_size_count")
    await bulk(recognizer, (item(collection, str(n), face) for n, face in enumerate(people)))
    assert recognizer.sample("compactface_batch_size_count") - before < len(people)


async def test_an_item_that_fails_ends_nothing(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    answers = await bulk(
        recognizer,
        [
            item(collection, "ada", people[0]),
            item(collection, "nobody"),
            item(collection, "eve", CompactMap(codec_id=people[1].codec_id, png=b"no map")),
            item(collection, "x" * 129, people[2]),
            item("nowhere", "bob", people[3]),
            item(collection, "bob", CompactMap(codec_id="0" * 16, png=people[3].png)),
            item(collection, "bob", people[3]),
        ],
    )
    assert reasons(answers) == [
        *("", "INVALID_FACE_COUNT", "MAP_NOT_PNG", "INVALID_LENGTH", "COLLECTION_NOT_FOUND"),
        *("UNKNOWN_CODEC", ""),
    ]
    assert await faces_in(recognizer, collection) == 2


async def test_a_duplicate_within_one_stream_is_refused_and_the_first_one_stays(
    recognizer: Service, collection: str, people: list[CompactMap], again: list[CompactMap]
) -> None:
    answers = await bulk(
        recognizer, [item(collection, "ada", people[0]), item(collection, "eve", again[0])]
    )
    assert reasons(answers) == ["", "DUPLICATE_FACE"]
    assert RequestFailed.from_status(answers[1].error).metadata == {"subject_id": "ada"}


async def test_a_stream_sent_again_gives_the_first_answers_and_enrols_nothing(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    items = [
        item(collection, f"person-{n}", face, request_id=f"{collection}-{n}")
        for n, face in enumerate(people[:6])
    ]
    half = await bulk(recognizer, items[:3])
    whole = await bulk(recognizer, items)
    assert [answer.response.repeated_request for answer in whole] == 3 * [True] + 3 * [False]
    assert [answer.response.faces for answer in whole[:3]] == [
        answer.response.faces for answer in half
    ]
    assert await faces_in(recognizer, collection) == 6


async def test_what_was_answered_before_the_stream_broke_is_enrolled(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    call = recognizer.gallery.BulkEnroll()
    for n in range(3):
        await call.write(BulkEnrollRequest(enroll=item(collection, f"person-{n}", people[n])))
        assert (await call.read()).index == n
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.read()
    assert await faces_in(recognizer, collection) == 3


async def test_a_new_face_unlike_the_old_ones_is_enrolled_with_a_warning(
    recognizer: Service, collection: str, people: list[CompactMap], again: list[CompactMap]
) -> None:
    answers = await bulk(
        recognizer,
        [
            item(collection, "ada", people[0], request_id=f"{collection}-a"),
            item(collection, "ada", again[0]),
            item(collection, "ada", people[5], request_id=f"{collection}-c"),
            item(collection, "ada", people[5], request_id=f"{collection}-c"),
        ],
    )
    first, alike, unlike, repeated = (answer.response for answer in answers)
    assert not first.disagreements
    assert not alike.disagreements
    (warning,) = unlike.disagreements
    assert warning.face_id == unlike.faces[0].face_id
    assert warning.similarity < warning.threshold
    assert list(repeated.disagreements) == [warning]


async def test_an_empty_stream_has_an_empty_answer(recognizer: Service) -> None:
    assert await bulk(recognizer, []) == []


async def test_a_service_that_stops_says_so_after_the_answers_it_owes(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap]
) -> None:
    # Without time to drain, the server may cut the stream before the service has said why.
    async with running_recognizer(tiny_models, tmp_path / "g.sqlite", drain_seconds=8) as service:
        call = service.gallery.BulkEnroll()
        await call.write(BulkEnrollRequest(enroll=item("", "ada", people[0])))
        assert (await call.read()).response.subject.subject_id == "ada"
        service.host.stopping.set()
        with pytest.raises(grpc.aio.AioRpcError, match="shutting down"):
            await call.read()
