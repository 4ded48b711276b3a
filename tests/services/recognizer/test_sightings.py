"""Sightings: identified as they arrive, listed, watched, enrolled from and deleted."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from compactface.client import RequestFailed
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import (
    AUDIT_OPERATION_DELETE_SIGHTINGS,
    BulkEnrollRequest,
    DeleteSubjectRequest,
    EnrollRequest,
    GetFaceRequest,
    ListAuditEventsRequest,
)
from compactface.v1.recognizer_pb2 import (
    IDENTIFY_DECISION_EMPTY_GALLERY,
    IDENTIFY_DECISION_LOW_QUALITY,
    IDENTIFY_DECISION_MATCH,
    IDENTIFY_DECISION_NO_MATCH,
    DeleteSightingsRequest,
    GetRecognizerInfoRequest,
    GetSightingRequest,
    ListSightingsRequest,
    Sighting,
    SightingFilter,
    StreamedMap,
    StreamMapsRequest,
    StreamMapsResponse,
)
from recognizer_service.core.sightings import SightingDesk
from tests.services.asking import CAMERAS, enroll, keep_for, with_quality
from tests.services.hosting import Service, failure, fields_of, running_recognizer
from tests.services.sightings import identified, next_of, seen, subjects_of, watching

pytestmark = pytest.mark.asyncio(loop_scope="session")

STORED = StreamMapsResponse.OUTCOME_STORED
NOBODY = str(uuid.UUID(int=1))


async def listed(service: Service, **only: Any) -> list[Sighting]:
    request = ListSightingsRequest(collection=CAMERAS, filter=SightingFilter(**only))
    return list((await service.recognizer.ListSightings(request)).sightings)


async def get(service: Service, sighting_id: str, **options: Any) -> Any:
    request = GetSightingRequest(collection=CAMERAS, sighting_id=sighting_id, **options)
    return await service.recognizer.GetSighting(request)


async def test_a_sighting_is_identified_when_it_arrives(
    service: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    (first,) = await seen(service, people[5])
    early = await identified(service, first)
    assert early.identification.decision == IDENTIFY_DECISION_EMPTY_GALLERY
    await enroll(service, CAMERAS, "ada", people[0], display_name="Ada")
    known, unknown, poor = await seen(service, again[0], people[7], with_quality(people[0], 0.01))
    sighting = await identified(service, known)
    assert sighting.identification.decision == IDENTIFY_DECISION_MATCH
    (candidate,) = sighting.identification.candidates
    assert (candidate.subject_id, candidate.display_name) == ("ada", "Ada")
    assert candidate.matched
    assert candidate.similarity >= candidate.threshold
    assert 0 < sighting.identification.threshold.fmr < 1
    assert sighting.identification.threshold.faces == 1
    assert (sighting.camera_id, sighting.codec_id) == ("anonymous", people[0].codec_id)
    assert sighting.size_bytes == len(again[0].png)
    stranger = await identified(service, unknown)
    assert stranger.identification.decision == IDENTIFY_DECISION_NO_MATCH
    assert subjects_of(stranger) == []
    blurred = await identified(service, poor)
    assert blurred.identification.decision == IDENTIFY_DECISION_LOW_QUALITY
    assert subjects_of(blurred) == []
    assert service.sample("compactface_sightings_identified_total", result="match") == 1


async def test_what_a_stop_left_unidentified_is_identified_at_the_next_start(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap], monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = tmp_path / "gallery.sqlite"
    with monkeypatch.context() as patched:
        patched.setattr(SightingDesk, "keep_identifying", asyncio.Event().wait)
        async with running_recognizer(tiny_models, gallery, stream_collection=CAMERAS) as first:
            (one,) = await seen(first, people[0])
            assert not (await get(first, one)).sighting.HasField("identification")
    async with running_recognizer(tiny_models, gallery, stream_collection=CAMERAS) as second:
        sighting = await identified(second, one)
        assert sighting.identification.decision == IDENTIFY_DECISION_EMPTY_GALLERY


def at(face: CompactMap, time: datetime) -> CompactMap:
    """The same map, captured at another time."""
    changed = CompactMap()
    changed.CopyFrom(face)
    changed.capture_time.FromDatetime(time)
    return changed


async def test_sightings_are_listed_by_time_page_by_page_and_filtered(
    service: Service, people: list[CompactMap]
) -> None:
    await enroll(service, CAMERAS, "ada", people[0])
    now = datetime.now(UTC).replace(microsecond=0)
    noon, later, future = (now - timedelta(hours=3), now - timedelta(hours=2), now.max)
    faces = [at(people[1], later), at(people[0], noon), at(people[2], future.replace(tzinfo=UTC))]
    ids = await seen(service, *faces)
    for id_ in ids:
        await identified(service, id_)
    order = [ids[2], ids[0], ids[1]]  # what was captured in the future was seen when it came
    assert [item.sighting_id for item in await listed(service)] == order
    pages, token = [], ""
    while True:
        request = ListSightingsRequest(collection=CAMERAS, page_size=1, page_token=token)
        page = await service.recognizer.ListSightings(request)
        pages.append([item.sighting_id for item in page.sightings])
        if not (token := page.next_page_token):
            break
    assert pages == [[id_] for id_ in order]

    def timestamp(time: datetime) -> Timestamp:
        message = Timestamp()
        message.FromDatetime(time)
        return message

    for only, expected in (
        ({"start_time": timestamp(later)}, [ids[2], ids[0]]),
        ({"end_time": timestamp(later)}, [ids[1]]),
        ({"start_time": timestamp(noon), "end_time": timestamp(later)}, [ids[1]]),
        ({"subject_id": "ada"}, [ids[1]]),
        ({"subject_id": "bob"}, []),
        ({"camera_id": "anonymous"}, order),
        ({"camera_id": "gate-7"}, []),
        ({"decisions": [IDENTIFY_DECISION_NO_MATCH]}, [ids[2], ids[0]]),
        ({"decisions": [IDENTIFY_DECISION_NO_MATCH, IDENTIFY_DECISION_MATCH]}, order),
    ):
        assert [item.sighting_id for item in await listed(service, **only)] == expected, only


async def test_the_unknown_get_a_name_from_their_sightings(
    service: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    one, other = await seen(service, people[0], again[0])
    await identified(service, other)
    call = watching(service, after_sighting_id=other)
    request = EnrollRequest(
        collection=CAMERAS, subject_id="ada", display_name="Ada", sighting_ids=[one, other]
    )
    answer = await service.gallery.Enroll(request)
    assert (answer.subject.face_count, len(answer.faces)) == (2, 2)
    assert answer.faces[0].size_bytes == len(people[0].png)
    for id_ in (one, other):
        assert subjects_of((await get(service, id_)).sighting) == ["ada"]
    assert [(await next_of(call)).sighting_id for _ in range(2)] == [one, other]
    call.cancel()
    bulk = EnrollRequest(collection=CAMERAS, subject_id="ada", sighting_ids=[one])
    (result,) = [
        answer
        async for answer in service.gallery.BulkEnroll(iter([BulkEnrollRequest(enroll=bulk)]))
    ]
    assert result.response.subject.face_count == 3
    face = await service.gallery.GetFace(
        GetFaceRequest(collection=CAMERAS, face_id=answer.faces[0].face_id, include_picture=True)
    )
    assert face.picture_png == (await get(service, one, include_picture=True)).picture_png != b""


async def test_a_match_names_nobody_once_the_subject_is_deleted(
    service: Service, people: list[CompactMap]
) -> None:
    await enroll(service, CAMERAS, "ada", people[0])
    (one,) = await seen(service, people[0])
    assert subjects_of(await identified(service, one)) == ["ada"]
    await service.gallery.DeleteSubject(DeleteSubjectRequest(collection=CAMERAS, subject_id="ada"))
    sighting = (await get(service, one)).sighting
    assert sighting.identification.decision == IDENTIFY_DECISION_MATCH
    assert subjects_of(sighting) == []


async def test_sightings_are_deleted_by_ids_and_by_filter_and_their_bytes_go(
    service: Service, tmp_path: Path, people: list[CompactMap]
) -> None:
    await enroll(service, CAMERAS, "ada", people[0])
    ids = await seen(service, people[0], people[1], people[2])
    for id_ in ids:
        await identified(service, id_)

    async def delete(**what: Any) -> Any:
        request = DeleteSightingsRequest(
            collection=CAMERAS, erasure_wait=Duration(seconds=20), **what
        )
        return await service.recognizer.DeleteSightings(request)

    by_id = await delete(sighting_ids=[ids[1], NOBODY])
    assert (by_id.sightings_deleted, by_id.erased) == (1, True)
    assert people[1].png not in await asyncio.to_thread(content_of, tmp_path)
    of_ada = await delete(filter=SightingFilter(subject_id="ada"))
    assert of_ada.sightings_deleted == 1
    assert [item.sighting_id for item in await listed(service)] == [ids[2]]
    everything = await delete(filter=SightingFilter())
    assert everything.sightings_deleted == 1
    assert (await delete(filter=SightingFilter())).sightings_deleted == 0
    events = await service.gallery.ListAuditEvents(ListAuditEventsRequest(collection_id=CAMERAS))
    operations = [event.operation for event in events.events]
    assert operations.count(AUDIT_OPERATION_DELETE_SIGHTINGS) == 4


def content_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


@pytest.mark.parametrize(
    ("ask", "reason", "field"),
    [
        (lambda s: get(s, NOBODY), "SIGHTING_NOT_FOUND", None),
        (lambda s: listed(s, camera_id="x" * 129), "INVALID_LENGTH", "filter.camera_id"),
        (lambda s: listed(s, subject_id="\0"), "UNPRINTABLE_TEXT", "filter.subject_id"),
        (lambda s: listed(s, decisions=[9]), "INVALID_DECISION", "filter.decisions"),
        (lambda s: listed(s, decisions=[1] * 9), "OUT_OF_RANGE", "filter.decisions.size"),
        (
            lambda s: listed(s, start_time=Timestamp(seconds=2**60)),
            "INVALID_TIME",
            "filter.start_time",
        ),
        (
            lambda s: s.recognizer.ListSightings(ListSightingsRequest(page_token="MTox")),
            "INVALID_PAGE_TOKEN",
            "page_token",
        ),
        (
            lambda s: s.recognizer.ListSightings(ListSightingsRequest(collection="none")),
            "COLLECTION_NOT_FOUND",
            None,
        ),
        (lambda s: next_of(watching(s, resume_token="x")), "INVALID_RESUME_TOKEN", "resume_token"),
        (lambda s: next_of(watching(s, after_sighting_id="x")), "SIGHTING_NOT_FOUND", None),
        (
            lambda s: s.recognizer.DeleteSightings(DeleteSightingsRequest(collection=CAMERAS)),
            "NOTHING_SELECTED",
            "sighting_ids",
        ),
        (
            lambda s: s.recognizer.DeleteSightings(
                DeleteSightingsRequest(collection=CAMERAS, sighting_ids=["x"] * 1001)
            ),
            "OUT_OF_RANGE",
            "sighting_ids",
        ),
        (
            lambda s: s.gallery.Enroll(EnrollRequest(collection=CAMERAS, sighting_ids=[NOBODY])),
            "SIGHTING_NOT_FOUND",
            None,
        ),
        (
            lambda s: s.gallery.Enroll(
                EnrollRequest(collection=CAMERAS, sighting_ids=[NOBODY] * 33)
            ),
            "INVALID_FACE_COUNT",
            "maps",
        ),
    ],
)
async def test_bad_questions_are_refused_by_name(
    recognizer_of_cameras: Service, ask: Any, reason: str, field: str | None
) -> None:
    error = await failure(ask(recognizer_of_cameras))
    assert error.reason == reason
    assert fields_of(error) == ([field] if field else [])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def recognizer_of_cameras(
    tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """One for questions that change nothing."""
    gallery = tmp_path_factory.mktemp("cameras") / "gallery.sqlite"
    async with running_recognizer(tiny_models, gallery, stream_collection=CAMERAS) as running:
        yield running


async def test_maps_of_one_message_may_be_answered_together(
    service: Service, people: list[CompactMap]
) -> None:
    maps = [StreamedMap(sighting_id=str(uuid.uuid4()), map=face) for face in people[:3]]
    maps[1].camera = "gate/7"
    request = StreamMapsRequest(maps=maps, answer_together=True)
    call = service.recognizer.StreamMaps(iter([request, request]))
    first, second = [answer async for answer in call]
    assert [answer.sighting_id for answer in first.answers] == [item.sighting_id for item in maps]
    assert [answer.outcome for answer in first.answers] == [STORED, 0, STORED]
    duplicate = StreamMapsResponse.OUTCOME_DUPLICATE
    assert [answer.outcome for answer in second.answers] == [duplicate, 0, duplicate]
    assert not first.sighting_id


async def test_cameras_of_one_stream_are_told_apart(
    service: Service, people: list[CompactMap]
) -> None:
    names = ["door", "Door", "", "x" * 64, "gate/7", "x" * 65]
    maps = [
        StreamedMap(sighting_id=str(uuid.uuid4()), map=people[0], camera=name) for name in names
    ]
    single = StreamMapsRequest(sighting_id=str(uuid.uuid4()), map=people[0], camera="yard")
    call = service.recognizer.StreamMaps(iter([StreamMapsRequest(maps=maps), single]))
    answers = [answer async for answer in call]
    assert [answer.outcome for answer in answers] == [STORED] * 4 + [0, 0, STORED]
    errors = [RequestFailed.from_status(answer.error) for answer in answers[4:6]]
    assert [error.reason for error in errors] == ["INVALID_CAMERA"] * 2
    assert [fields_of(error) for error in errors] == [["camera"]] * 2
    cameras = [item.camera_id for item in await listed(service)]
    assert sorted(cameras) == sorted(["door", "Door", "anonymous", "x" * 64, "yard"])
    (only,) = await listed(service, camera_id="door")
    assert only.camera_id == "door"


async def test_a_bad_map_among_several_of_a_message_is_refused_alone(
    service: Service, people: list[CompactMap]
) -> None:
    maps = [
        StreamedMap(sighting_id=str(uuid.uuid4()), map=people[0]),
        StreamedMap(sighting_id="no uuid", map=people[1]),
        StreamedMap(sighting_id=str(uuid.uuid4()), map=CompactMap(codec_id="0" * 16, png=b"x")),
        StreamedMap(sighting_id=str(uuid.uuid4()), map=people[2]),
    ]
    call = service.recognizer.StreamMaps(iter([StreamMapsRequest(maps=maps)]))
    answers = [answer async for answer in call]
    assert [answer.sighting_id for answer in answers] == [item.sighting_id for item in maps]
    assert [answer.outcome for answer in answers] == [STORED, 0, 0, STORED]
    reasons = [RequestFailed.from_status(answer.error).reason for answer in answers[1:3]]
    assert reasons == ["INVALID_SIGHTING_ID", "UNKNOWN_CODEC"]
    info = await service.recognizer.GetRecognizerInfo(GetRecognizerInfoRequest())
    too_many = StreamMapsRequest(maps=maps[:1] * (info.max_stream_maps + 1))
    with pytest.raises(grpc.aio.AioRpcError, match="INVALID_ARGUMENT"):
        await service.recognizer.StreamMaps(iter([too_many])).read()


async def test_the_recognizer_says_how_long_it_keeps_streamed_maps(service: Service) -> None:
    async def told() -> Any:
        return await service.recognizer.GetRecognizerInfo(GetRecognizerInfoRequest())

    assert (await told()).stream_retention == Duration(seconds=24 * 3600)
    await keep_for(service, 0)
    info = await told()
    assert info.HasField("stream_retention")
    assert info.stream_retention == Duration()


async def test_sightings_past_their_retention_are_seen_by_nobody(
    service: Service, people: list[CompactMap]
) -> None:
    (one,) = await seen(service, people[0])
    await identified(service, one)
    await keep_for(service, 1)
    await asyncio.sleep(1.1)
    assert await listed(service) == []
    error = await failure(get(service, one))
    assert error.reason == "SIGHTING_NOT_FOUND"
