import asyncio
import uuid
from pathlib import Path

import grpc
import pytest

from compactface.client import RequestFailed
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.recognizer_pb2 import (
    IDENTIFY_DECISION_MATCH,
    VERIFY_DECISION_MATCH,
    Probe,
    ReconstructRequest,
    StreamMapsRequest,
    StreamMapsResponse,
)
from tests.services.asking import CAMERAS, enroll, identify, keep_for, verify
from tests.services.hosting import Service, failure, fields_of, running_recognizer

pytestmark = pytest.mark.asyncio(loop_scope="session")

STORED, DUPLICATE, DISCARDED = (
    StreamMapsResponse.OUTCOME_STORED,
    StreamMapsResponse.OUTCOME_DUPLICATE,
    StreamMapsResponse.OUTCOME_DISCARDED,
)


def sighting(face: CompactMap, sighting_id: str | None = None) -> StreamMapsRequest:
    return StreamMapsRequest(sighting_id=sighting_id or str(uuid.uuid4()), map=face)


async def stream(service: Service, *sightings: StreamMapsRequest) -> list[StreamMapsResponse]:
    return [answer async for answer in service.recognizer.StreamMaps(iter(sightings))]


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


async def test_maps_are_discarded_where_the_collection_keeps_no_sightings(
    tiny_models: Path, gallery: Path, people: list[CompactMap]
) -> None:
    async with running_recognizer(tiny_models, gallery) as recognizer:
        await keep_for(recognizer, 0, "")
        one = sighting(people[0])
        (answer,) = await stream(recognizer, one)
        assert (answer.sighting_id, answer.outcome) == (one.sighting_id, DISCARDED)
        error = await failure(identify(recognizer, "", one.sighting_id))
    assert (error.code, error.reason) == ("NOT_FOUND", "SIGHTING_NOT_FOUND")


async def test_stored_maps_survive_a_restart_and_serve_as_probes(
    tiny_models: Path, gallery: Path, people: list[CompactMap]
) -> None:
    sightings = [sighting(face) for face in people[:3]]
    settings = {"stream_collection": CAMERAS}
    async with running_recognizer(tiny_models, gallery, **settings) as service:
        answers = await stream(service, *sightings)
        assert [answer.sighting_id for answer in answers] == [one.sighting_id for one in sightings]
        assert [answer.outcome for answer in answers] == [STORED] * 3
        assert service.sample("compactface_sightings_total", outcome="stored") == 3
    async with running_recognizer(tiny_models, gallery, **settings) as service:
        await enroll(service, CAMERAS, "ada", people[1])
        probe = sightings[1].sighting_id
        answer = await identify(service, CAMERAS, probe)
        assert answer.decision == IDENTIFY_DECISION_MATCH
        assert (await verify(service, CAMERAS, probe, "ada")).decision == VERIFY_DECISION_MATCH
        reconstructed = [
            await service.recognizer.Reconstruct(
                ReconstructRequest(collection=CAMERAS, probe=source)
            )
            for source in (Probe(sighting_id=probe), Probe(map=people[1]))
        ]
        assert reconstructed[0].png == reconstructed[1].png
        again = [*sightings, sighting(people[4])]
        outcomes = [answer.outcome for answer in await stream(service, *again)]
        assert outcomes == [DUPLICATE] * 3 + [STORED]


async def test_a_bad_map_is_refused_alone_and_the_stream_goes_on(
    tiny_models: Path, gallery: Path, people: list[CompactMap]
) -> None:
    bad = CompactMap(codec_id=people[0].codec_id, png=people[0].png + b"!")
    unknown = CompactMap(codec_id="0" * 16, png=people[0].png)
    async with running_recognizer(tiny_models, gallery, stream_collection=CAMERAS) as service:
        trailing, codec, bad_id, good = await stream(
            service,
            sighting(bad),
            sighting(unknown),
            sighting(people[0], "camera 1, 12:00"),
            sighting(people[0]),
        )
    errors = [RequestFailed.from_status(answer.error) for answer in (trailing, codec, bad_id)]
    assert [(error.reason, fields_of(error)) for error in errors] == [
        ("MAP_TRAILING_BYTES", ["map.png"]),
        ("UNKNOWN_CODEC", []),
        ("INVALID_SIGHTING_ID", ["sighting_id"]),
    ]
    assert good.outcome == STORED


async def test_a_message_with_nothing_but_a_bad_camera_is_refused_with_its_reason(
    tiny_models: Path, gallery: Path, people: list[CompactMap]
) -> None:
    request = sighting(people[0])
    request.camera = "front/door"
    async with running_recognizer(tiny_models, gallery, stream_collection=CAMERAS) as service:
        (answer,) = await stream(service, request)
    error = RequestFailed.from_status(answer.error)
    assert (error.reason, fields_of(error)) == ("INVALID_CAMERA", ["camera"])


async def test_a_sighting_id_with_another_map_is_refused(
    tiny_models: Path, gallery: Path, people: list[CompactMap]
) -> None:
    one = sighting(people[0])
    async with running_recognizer(tiny_models, gallery, stream_collection=CAMERAS) as service:
        _, answer = await stream(service, one, sighting(people[1], one.sighting_id))
    assert RequestFailed.from_status(answer.error).reason == "SIGHTING_ID_REUSED"


async def test_a_stop_ends_streams_at_once(
    tiny_models: Path, gallery: Path, people: list[CompactMap]
) -> None:
    async with running_recognizer(tiny_models, gallery, drain_seconds=60) as service:
        call = service.recognizer.StreamMaps()
        await call.write(sighting(people[0]))
        assert (await call.read()).outcome == STORED
        service.host.stopping.set()
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await asyncio.wait_for(call.read(), 20)
