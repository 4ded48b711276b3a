"""A collection may require a liveness that clients claim for the faces that they send."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import (
    BulkEnrollRequest,
    Collection,
    CreateCollectionRequest,
    EnrollRequest,
    GetCollectionRequest,
    UpdateCollectionRequest,
)
from compactface.v1.recognizer_pb2 import (
    IDENTIFY_DECISION_MATCH,
    VERIFY_DECISION_MATCH,
    BatchIdentifyRequest,
)
from tests.services.asking import CAMERAS, asked, enroll, identify, verify
from tests.services.hosting import Service, failure, fields_of, running_recognizer
from tests.services.sightings import identified, seen

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOOR = "door"


@pytest_asyncio.fixture(loop_scope="session")
async def recognizer(tiny_models: Path, tmp_path: Path) -> AsyncIterator[Service]:
    """With a collection that requires 0.9."""
    gallery = tmp_path / "gallery" / "gallery.sqlite"
    async with running_recognizer(tiny_models, gallery) as service:
        door = Collection(collection_id=DOOR, min_liveness=0.9)
        await service.gallery.CreateCollection(CreateCollectionRequest(collection=door))
        yield service


def live(face: CompactMap, liveness: float | None) -> CompactMap:
    """The face with this claim."""
    copy = CompactMap()
    copy.CopyFrom(face)
    if liveness is not None:
        copy.liveness = liveness
    return copy


async def test_who_is_said_to_be_live_is_enrolled_identified_and_verified(
    recognizer: Service, people: list[CompactMap]
) -> None:
    """Also with exactly the liveness that is required; the reference need not be live."""
    face = live(people[0], 0.9)
    await enroll(recognizer, DOOR, "ada", face)
    assert (await identify(recognizer, DOOR, face)).decision == IDENTIFY_DECISION_MATCH
    for reference in ("ada", people[0]):
        answer = await verify(recognizer, DOOR, face, reference)
        assert answer.decision == VERIFY_DECISION_MATCH


@pytest.mark.parametrize("liveness", [None, 0.0, 0.89])
async def test_others_are_refused_with_value_and_limit(
    recognizer: Service, people: list[CompactMap], liveness: float | None
) -> None:
    await enroll(recognizer, DOOR, "ada", live(people[0], 1))
    face = live(people[0], liveness)
    value = "missing" if liveness is None else f"{liveness:g}"
    for call, field in (
        (identify(recognizer, DOOR, face), "probe.map"),
        (verify(recognizer, DOOR, face, "ada"), "probe.map"),
        (verify(recognizer, DOOR, face, live(people[0], 1)), "probe.map"),
        (enroll(recognizer, DOOR, "eve", live(people[1], 1), face), "maps[1]"),
    ):
        refused = await failure(call)
        assert refused.reason == "LIVENESS_TOO_LOW"
        assert fields_of(refused) == [field]
        assert f"liveness is {value}; collection 'door' requires at least 0.9" in refused.message


async def test_each_item_of_a_batch_is_judged_alone(
    recognizer: Service, people: list[CompactMap]
) -> None:
    await enroll(recognizer, DOOR, "ada", live(people[0], 1))
    items = [asked(DOOR, live(people[0], value)) for value in (1.0, 0.5)]
    answer = await recognizer.recognizer.BatchIdentify(BatchIdentifyRequest(requests=items))
    good, bad = answer.results
    assert good.response.decision == IDENTIFY_DECISION_MATCH
    assert "liveness is 0.5" in bad.error.message
    requests = [
        BulkEnrollRequest(
            enroll=EnrollRequest(collection=DOOR, subject_id=f"s-{value}", maps=[live(face, value)])
        )
        for value, face in ((0.2, people[1]), (0.95, people[2]))
    ]
    bad, good = [item async for item in recognizer.gallery.BulkEnroll(iter(requests))]
    assert "liveness is 0.2" in bad.error.message
    assert good.WhichOneof("result") == "response"


@pytest.mark.parametrize("liveness", [-0.1, 1.5, float("nan"), float("inf")])
async def test_a_liveness_beyond_its_range_is_refused_everywhere(
    recognizer: Service, people: list[CompactMap], liveness: float
) -> None:
    refused = await failure(identify(recognizer, "default", live(people[0], liveness)))
    assert (refused.reason, fields_of(refused)) == ("OUT_OF_RANGE", ["probe.map.liveness"])
    wanted = Collection(collection_id="other", min_liveness=liveness)
    call = recognizer.gallery.CreateCollection(CreateCollectionRequest(collection=wanted))
    refused = await failure(call)
    assert (refused.reason, fields_of(refused)) == ("OUT_OF_RANGE", ["collection.min_liveness"])


async def test_the_requirement_is_kept_shown_and_changed(
    recognizer: Service, people: list[CompactMap]
) -> None:
    request = GetCollectionRequest(collection=DOOR)
    got = await recognizer.gallery.GetCollection(request)
    assert got.collection.min_liveness == pytest.approx(0.9)
    await recognizer.gallery.UpdateCollection(
        UpdateCollectionRequest(
            collection=Collection(collection_id=DOOR),
            update_mask=FieldMask(paths=["min_liveness"]),
        )
    )
    await enroll(recognizer, DOOR, "ada", people[0])
    assert (await identify(recognizer, DOOR, people[0])).decision == IDENTIFY_DECISION_MATCH


async def test_a_claim_is_not_stored(recognizer: Service, people: list[CompactMap]) -> None:
    """A subject that was enrolled once as live says nothing of the next probe."""
    await enroll(recognizer, DOOR, "ada", live(people[0], 1))
    refused = await failure(identify(recognizer, DOOR, people[0]))
    assert refused.reason == "LIVENESS_TOO_LOW"


async def test_sightings_are_identified_and_are_no_proof_of_liveness(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap]
) -> None:
    """What streams in is watched, as ever, but opens no door later."""
    gallery = tmp_path / "gallery.sqlite"
    async with running_recognizer(tiny_models, gallery, stream_collection=CAMERAS) as service:
        await enroll(service, CAMERAS, "ada", people[0])
        required = UpdateCollectionRequest(
            collection=Collection(collection_id=CAMERAS, min_liveness=0.5),
            update_mask=FieldMask(paths=["min_liveness"]),
        )
        await service.gallery.UpdateCollection(required)
        (sighting_id,) = await seen(service, live(people[0], 1))
        sighting = await identified(service, sighting_id)
        assert sighting.identification.decision == IDENTIFY_DECISION_MATCH
        again = EnrollRequest(collection=CAMERAS, subject_id="ada", sighting_ids=[sighting_id])
        for call, field in (
            (identify(service, CAMERAS, sighting_id), "probe.sighting_id"),
            (verify(service, CAMERAS, sighting_id, "ada"), "probe.sighting_id"),
            (service.gallery.Enroll(again), "sighting_ids[0]"),
        ):
            refused = await failure(call)
            assert (refused.reason, fields_of(refused)) == ("LIVENESS_TOO_LOW", [field])
