"""A recognizer tells whether its calibration holds on the probes that it serves."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import (
    CalibrationCheck,
    GetCollectionRequest,
    ListCollectionsRequest,
)
from compactface.v1.recognizer_pb2 import IdentifyDecision, StreamMapsRequest
from tests.services.access import AccessFolder
from tests.services.asking import CAMERAS, enroll_all, keep_for, probe, with_quality
from tests.services.hosting import Service, running_recognizer, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def sound(tiny_models: Path, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_recognizer(
        tiny_models, tmp_path / "gallery.sqlite", min_quality=0.15
    ) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def shifted(shifted_models: Path, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_recognizer(shifted_models, tmp_path / "gallery.sqlite") as service:
        yield service


async def check_of(service: Service, collection: str = "") -> CalibrationCheck:
    answer = await service.gallery.GetCollection(GetCollectionRequest(collection=collection))
    return answer.collection.calibration_check


async def test_probes_that_follow_the_calibration(
    sound: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    await enroll_all(sound, "", people)
    decisions = await probe(sound, again, 320)
    assert set(decisions) == {IdentifyDecision.IDENTIFY_DECISION_MATCH}
    found = await check_of(sound)
    assert found.verdict == CalibrationCheck.VERDICT_HOLDS
    assert found.probes == 320
    assert found.min_probes == 300
    assert found.expected_rate == pytest.approx(0.1)
    assert found.low <= found.observed_rate <= found.expected_rate < found.high
    assert found.since_time.seconds > 1.7e9
    assert sound.sample("compactface_calibration_probes_total", collection="default") == 320
    expected = sound.sample("compactface_calibration_expected_total", collection="default")
    assert expected == pytest.approx(32)
    assert sound.sample("compactface_calibration_drifts", collection="default") == 0


async def test_matches_in_a_calibration_that_is_too_low(
    shifted: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    await enroll_all(shifted, "", people)
    await probe(shifted, again, 320)
    found = await check_of(shifted)
    assert found.verdict == CalibrationCheck.VERDICT_HIGHER
    assert found.observed_rate > found.low > found.expected_rate
    listed = await shifted.gallery.ListCollections(ListCollectionsRequest())
    assert [each.calibration_check for each in listed.collections] == [found]
    exceeded = shifted.sample("compactface_calibration_exceeded_total", collection="default")
    assert exceeded == pytest.approx(found.observed_rate * 320)
    assert shifted.sample("compactface_calibration_drifts", collection="default") == 1


async def test_strangers_who_resemble_each_other(
    sound: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    """Nobody matches, at the strictest of rates, and all come too close to somebody."""
    await enroll_all(sound, "", people)
    decisions = await probe(sound, again, 320, max_fpir=1e-300)
    assert set(decisions) == {IdentifyDecision.IDENTIFY_DECISION_NO_MATCH}
    found = await check_of(sound)
    assert found.verdict == CalibrationCheck.VERDICT_HIGHER
    assert found.observed_rate == 1


async def test_too_few_probes(
    shifted: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    await enroll_all(shifted, "", people)
    assert await check_of(shifted) == CalibrationCheck(
        verdict=CalibrationCheck.VERDICT_TOO_FEW, min_probes=300, expected_rate=0.1, high=1
    )
    await probe(shifted, again, 140)
    found = await check_of(shifted)
    assert found.verdict == CalibrationCheck.VERDICT_TOO_FEW
    assert found.probes == 140


async def test_poor_probes_and_thresholds_of_similarity_do_not_count(
    sound: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    await enroll_all(sound, "", people)
    await probe(sound, [with_quality(face, 0.1) for face in again], 16)
    await probe(sound, again, 16, min_similarity=0.5)
    assert (await check_of(sound)).probes == 0
    await probe(sound, [with_quality(face, 0.2) for face in again], 16)
    assert (await check_of(sound)).probes == 16


async def test_sightings_count(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap], again: list[CompactMap]
) -> None:
    gallery = tmp_path / "gallery.sqlite"
    async with running_recognizer(tiny_models, gallery, stream_collection=CAMERAS) as service:
        await keep_for(service, 3600)
        await enroll_all(service, CAMERAS, people)
        stream = service.recognizer.StreamMaps()
        for face in again:
            await stream.write(StreamMapsRequest(sighting_id=str(uuid.uuid4()), map=face))
        await stream.done_writing()
        assert len([answer async for answer in stream]) == len(again)
        name = "compactface_calibration_probes_total"
        await until(lambda: service.sample(name, collection=CAMERAS) == len(again))
        assert (await check_of(service, CAMERAS)).probes == len(again)


async def test_callers_without_admin_are_not_told(tiny_models: Path, tmp_path: Path) -> None:
    """They could watch the counts while they climb."""
    access = AccessFolder(tmp_path / "access.toml")
    boss, clerk = (
        [("authorization", f"Bearer {access.token(scope)}")] for scope in ("admin", "enroll")
    )
    async with running_recognizer(
        tiny_models, tmp_path / "gallery.sqlite", access=access.path
    ) as service:
        request = GetCollectionRequest()
        for metadata, told in ((boss, True), (clerk, False)):
            answer = await service.gallery.GetCollection(request, metadata=metadata)
            assert answer.collection.HasField("calibration_check") is told
