"""Streams maps into a recognizer as encoders do, and waits for their sightings."""

import asyncio
import uuid
from typing import Any

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.recognizer_pb2 import (
    GetSightingRequest,
    Sighting,
    StreamedMap,
    StreamMapsRequest,
    StreamMapsResponse,
    WatchSightingsRequest,
    WatchSightingsResponse,
)
from tests.services.asking import CAMERAS
from tests.services.hosting import Service
from tests.services.processes import Process


async def seen(service: Service | Process, *faces: CompactMap, camera: str = "") -> list[str]:
    """Stream maps in one message; their ids."""
    ids = [str(uuid.uuid4()) for _ in faces]
    maps = [
        StreamedMap(sighting_id=id_, map=face, camera=camera)
        for id_, face in zip(ids, faces, strict=True)
    ]
    call = service.recognizer.StreamMaps(iter([StreamMapsRequest(maps=maps)]))
    answers = [answer async for answer in call]
    assert [(answer.sighting_id, answer.outcome) for answer in answers] == [
        (id_, StreamMapsResponse.OUTCOME_STORED) for id_ in ids
    ]
    return ids


async def identified(service: Service | Process, sighting_id: str) -> Sighting:
    """The sighting, once it is identified."""
    request = GetSightingRequest(collection=CAMERAS, sighting_id=sighting_id)
    async with asyncio.timeout(20):
        while True:
            sighting: Sighting = (await service.recognizer.GetSighting(request)).sighting
            if sighting.HasField("identification") or sighting.failure_reason:
                return sighting
            await asyncio.sleep(0.01)


async def seen_and_identified(
    service: Service, *faces: CompactMap, camera: str = "door"
) -> list[str]:
    """Stream maps in one message and wait until they are identified; their ids."""
    ids = await seen(service, *faces, camera=camera)
    for id_ in ids:
        assert (await identified(service, id_)).HasField("identification")
    return ids


def watching(service: Service, **options: Any) -> Any:
    """A watch of the collection of the cameras."""
    request = WatchSightingsRequest(collection=CAMERAS, **options)
    return service.recognizer.WatchSightings(request)


async def next_of(call: Any) -> WatchSightingsResponse:
    """What a watch brings next."""
    async with asyncio.timeout(20):
        answer = await call.read()
    assert isinstance(answer, WatchSightingsResponse), answer
    return answer


def subjects_of(sighting: Sighting) -> list[str]:
    """Whom it matched."""
    return [found.subject_id for found in sighting.identification.candidates]
