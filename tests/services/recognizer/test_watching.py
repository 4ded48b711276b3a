"""Watchers see sightings as they are identified, miss none, and are told when they are too slow."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status

from compactface.client import RequestFailed
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.recognizer_pb2 import (
    ListSightingsRequest,
    Probe,
    ReconstructRequest,
    SightingFilter,
    WatchSightingsResponse,
)
from tests.services.asking import CAMERAS, enroll
from tests.services.hosting import Service, running_recognizer, until
from tests.services.sightings import identified, next_of, seen, subjects_of, watching

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def read_on(call: Any, got: list[str]) -> None:
    """Read sightings into a list until the stream fails."""
    while True:
        got.append((await next_of(call)).sighting_id)


async def started(service: Service, call: Any, face: CompactMap) -> WatchSightingsResponse:
    """Let a watcher see a first sighting: from then on it misses none."""
    reading = asyncio.create_task(next_of(call))
    while not reading.done():
        await seen(service, face)
        await asyncio.wait({reading}, timeout=0.2)
    return reading.result()


async def test_a_watcher_sees_sightings_as_they_come_and_goes_on_after_a_break(
    service: Service, people: list[CompactMap]
) -> None:
    await enroll(service, CAMERAS, "ada", people[0])
    first = watching(service)
    last = await started(service, first, people[3])
    sent = await seen(service, people[0], people[4])
    while last.sighting_id != sent[1]:
        last = await next_of(first)
        if last.sighting_id == sent[0]:
            token = last.resume_token
            assert subjects_of(last.sighting) == ["ada"]
            assert last.identification == last.sighting.identification
    first.cancel()
    missed = await seen(service, people[5])
    second = watching(service, resume_token=token)
    assert [(await next_of(second)).sighting_id for _ in range(2)] == [sent[1], *missed]
    second.cancel()
    third = watching(service, after_sighting_id=sent[1])
    assert (await next_of(third)).sighting_id == missed[0]
    third.cancel()


async def test_a_list_and_a_watch_from_it_miss_nobody(
    service: Service, people: list[CompactMap]
) -> None:
    """Among them who was listed before being identified, and who came before the watch began."""
    await seen(service, people[0])
    request = ListSightingsRequest(collection=CAMERAS, page_size=1)
    page = await service.recognizer.ListSightings(request)
    (between,) = await seen(service, people[1])
    await identified(service, between)

    watch = watching(service, resume_token=page.resume_token)
    came = [await next_of(watch)]
    while came[-1].sighting_id != between:
        came.append(await next_of(watch))
    watch.cancel()
    listed_as_identified = {s.sighting_id for s in page.sightings if s.HasField("identification")}
    came_ids = {answer.sighting_id for answer in came}
    assert {s.sighting_id for s in page.sightings} <= came_ids | listed_as_identified


async def test_a_watcher_sees_what_passes_its_filter_and_pictures_if_asked(
    service: Service, people: list[CompactMap]
) -> None:
    await enroll(service, CAMERAS, "ada", people[0])
    call = watching(service, filter=SightingFilter(subject_id="ada"), include_pictures=True)
    answer = await started(service, call, people[0])
    picture = await service.recognizer.Reconstruct(ReconstructRequest(probe=Probe(map=people[0])))
    assert answer.picture_png == picture.png
    token = answer.resume_token
    call.cancel()
    sent = await seen(service, people[1], people[0], people[2])
    only = SightingFilter(subject_id="ada")
    resumed = watching(service, resume_token=token, filter=only)
    while (answer := await next_of(resumed)).sighting_id != sent[1]:
        assert subjects_of(answer.sighting) == ["ada"]
    assert answer.picture_png == b""
    resumed.cancel()


async def test_a_slow_watcher_is_dropped_with_its_token(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap]
) -> None:
    async with running_recognizer(
        tiny_models,
        tmp_path / "gallery.sqlite",
        stream_collection=CAMERAS,
        watch_patience_seconds=0.2,
    ) as service:
        sent = [id_ for _ in range(10) for id_ in await seen(service, *people[:16])]
        await identified(service, sent[-1])
        options = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
        async with grpc.aio.insecure_channel(service.address, options=options) as channel:
            slow = type(service)(service.host, channel, service.registry)
            call = watching(slow, after_sighting_id=sent[0], include_pictures=True)
            got = [(await next_of(call)).sighting_id]
            await asyncio.sleep(1)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await read_on(call, got)
        status = rpc_status.from_call(caught.value)
        assert status is not None
        error = RequestFailed.from_status(status)
        assert error.reason == "WATCHER_TOO_SLOW"
        assert got == sent[1 : len(got) + 1]
        rest = watching(service, resume_token=error.metadata["resume_token"])
        assert (await next_of(rest)).sighting_id == sent[len(got) + 1]
        rest.cancel()


async def test_a_stop_ends_watchers_at_once(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap]
) -> None:
    gallery = tmp_path / "gallery.sqlite"
    async with running_recognizer(
        tiny_models, gallery, stream_collection=CAMERAS, drain_seconds=60
    ) as service:
        call = watching(service)
        await started(service, call, people[0])
        service.host.stopping.set()
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await read_on(call, [])


async def test_all_stored_sightings_reach_a_watcher_once_and_in_order(
    service: Service, people: list[CompactMap]
) -> None:
    (first,) = await seen(service, people[0])
    await identified(service, first)
    call = watching(service, after_sighting_id=first)
    sent = [id_ for _ in range(5) for id_ in await seen(service, *people[:8])]
    got = [(await next_of(call)).sighting_id for _ in sent]
    call.cancel()
    assert got == sent
    await until(lambda: service.sample("compactface_sightings_total", outcome="stored") == 41)
