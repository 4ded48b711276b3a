"""Maps that were acknowledged to whoever forwarded them outlive the encoder, however it ends."""

import asyncio
import random
import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from compactface.v1.recognizer_pb2 import ListSightingsRequest
from encoder_service.uplink.spool import Spool
from tests.faults.uplink_faults import Trial
from tests.faults.uplink_outage import outage
from tests.power_loss import watch
from tests.services.asking import CAMERAS
from tests.services.forwarding import forwarded
from tests.services.hosting import Service, running_encoder, running_recognizer, until
from tests.services.processes import process

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def stored(recognizer: Service) -> list[str]:
    request = ListSightingsRequest(collection=CAMERAS, page_size=1000)
    answer = await recognizer.recognizer.ListSightings(request)
    return [sighting.sighting_id for sighting in answer.sightings]


def recognizer_at(
    models: Path, folder: Path, port: int = 0
) -> AbstractAsyncContextManager[Service]:
    return running_recognizer(
        models, folder / "gallery.sqlite", stream_collection=CAMERAS, port=port
    )


async def assert_all_arrive(
    models: Path, folder: Path, spool: Path, ids: list[str], port: int
) -> None:
    """Start an encoder on a spool, and a recognizer: each map must be there, and once."""
    target = f"127.0.0.1:{port}"
    async with (
        recognizer_at(models, folder, port) as recognizer,
        running_encoder(models, uplink_target=target, uplink_spool=spool) as encoder,
    ):
        await until(lambda: encoder.sample("compactface_uplink_depth") == 0)
        assert sorted(await stored(recognizer)) == sorted(ids)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_what_waits_outlives_the_encoder(
    tiny_models: Path, tmp_path: Path, free_port: int, how: signal.Signals
) -> None:
    spool = tmp_path / "spool"
    async with process(
        "encoder",
        tmp_path / "log.jsonl",
        models=tiny_models,
        uplink_target=f"127.0.0.1:{free_port}",
        uplink_spool=spool,
        uplink_flush_seconds=0,
    ) as encoder:
        ids = await forwarded(encoder, *range(6))
        assert len(set(ids)) == 6
        encoder.child.send_signal(how)
        async with asyncio.timeout(30):
            await encoder.child.wait()
    await assert_all_arrive(tiny_models, tmp_path, spool, ids, free_port)


@pytest.mark.parametrize("durability", ["power", "process"])
async def test_what_waits_outlives_a_loss_of_power_if_it_is_to(
    tiny_models: Path,
    tmp_path: Path,
    free_port: int,
    durability: str,
) -> None:
    """After each acknowledgement. Without the fsync they are lost, or this would see nothing."""
    power = watch(tmp_path / "spool", tmp_path)
    survive = durability == "power"
    ids: list[str] = []
    complete = []
    async with process(
        "encoder",
        tmp_path / "log.jsonl",
        environment=power.environment,
        models=tiny_models,
        uplink_target=f"127.0.0.1:{free_port}",
        uplink_spool=power.folder,
        uplink_durability=durability,
    ) as encoder:
        for seed in range(8):
            ids += await forwarded(encoder, seed)
            left = await asyncio.to_thread(power.left, tmp_path / f"left-{seed}")
            complete.append(ids == in_spool(left, tmp_path / f"copy-{seed}"))
        await encoder.kill()
    assert all(complete) == survive
    assert complete[-1] == survive
    if survive:
        await assert_all_arrive(tiny_models, tmp_path, left, ids, free_port)


def in_spool(folder: Path, copy: Path) -> list[str]:
    """What waits in a copy of a spool."""
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    spool = Spool(copy, durable=False, max_bytes=1 << 30, max_age_s=1e9)
    try:
        return [item.id for item in spool.read(after=0, most=1000)]
    finally:
        spool.close()


async def test_a_map_whose_acknowledgement_was_lost_is_stored_once(
    tiny_models: Path, tmp_path: Path, free_port: int
) -> None:
    """The encoder dies between the recognizer's acknowledgement and forgetting the map."""
    spool, before = tmp_path / "spool", tmp_path / "before"
    target = f"127.0.0.1:{free_port}"
    async with running_encoder(
        tiny_models, uplink_target=target, uplink_spool=spool, uplink_flush_seconds=0
    ) as encoder:
        ids = await forwarded(encoder, 0, 1, 2)
    await asyncio.to_thread(copy_files, spool, before)
    await assert_all_arrive(tiny_models, tmp_path, spool, ids, free_port)
    await assert_all_arrive(tiny_models, tmp_path, before, ids, free_port)


def copy_files(folder: Path, target: Path) -> None:
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


@pytest.mark.timeout(900)
async def test_kills_under_load_lose_no_face_that_was_taken(
    tiny_models: Path, tmp_path: Path
) -> None:
    """`tests.faults.uplink_faults` does the same hundreds of times."""
    trial = Trial(tmp_path, tiny_models, random.Random(4))  # noqa: S311 - any moment will do
    await trial.run(kills=4)
    assert trial.findings.accepted > 0
    assert trial.findings.enrolled > 0
    assert trial.findings.deleted > 0
    assert trial.findings.clean, trial.findings


@pytest.mark.parametrize(("spool_hours", "kept"), [(168, 1.0), (12, 0.5)])
async def test_a_day_without_recognizer_loses_what_is_too_old_and_nothing_else(
    tiny_models: Path, tmp_path: Path, spool_hours: float, kept: float
) -> None:
    found = await outage(tmp_path, tiny_models, faces_an_hour=4, spool_hours=spool_hours)
    assert found.accepted == 24 * 4
    assert found.lost == pytest.approx((1 - kept) * found.accepted, abs=1)
