"""Two recognizers that share a gallery, of which one changes over to another model."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import BulkEnrollRequest, EnrollRequest, ReembedRequest
from compactface.v1.recognizer_pb2 import (
    IDENTIFY_DECISION_MATCH,
    BatchIdentifyRequest,
    StreamMapsRequest,
    StreamMapsResponse,
)
from recognizer_service.gallery.storage.locations import Milvus
from shared.model_directory import set_current
from tests.postgres import PostgresServer
from tests.services.asking import CAMERAS, asked, enroll, identify, verify
from tests.services.hosting import Service, failure, running_recognizer
from tests.tiny_model import FAMILY

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

Replicas = tuple[Service, Service]


@pytest_asyncio.fixture(loop_scope="session")
async def replicas(
    two_models: Path, postgres: PostgresServer, milvus: Milvus
) -> AsyncIterator[Replicas]:
    location = postgres.create_database(f"replicas_{uuid4().hex}", milvus)
    url, shared = location.url.get_secret_value(), {"milvus": milvus.uri}
    async with (
        running_recognizer(two_models, url, stream_collection=CAMERAS, **shared) as one,
        running_recognizer(two_models, url, stream_collection=CAMERAS, **shared) as other,
    ):
        yield one, other


async def changed_over(service: Service) -> None:
    async with asyncio.timeout(60):
        while not (await service.gallery.Reembed(ReembedRequest())).done:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_who_was_left_behind_says_so_until_it_changes_over_too(
    replicas: Replicas, two_models: Path, people: list[CompactMap]
) -> None:
    one, behind = replicas
    await enroll(one, "", "ada", people[0])
    assert (await identify(behind, "", people[0])).decision == IDENTIFY_DECISION_MATCH
    set_current(two_models, FAMILY, "2")
    await changed_over(one)
    assert (await identify(one, "", people[0])).decision == IDENTIFY_DECISION_MATCH

    passes = behind.sample("compactface_batch_size_count")
    for call in (
        identify(behind, "", people[0]),
        verify(behind, "", people[0], "ada"),
        enroll(behind, "", "bob", people[1]),
    ):
        error = await failure(call)
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", "EMBEDDING_SPACE_CHANGED")
    assert behind.sample("compactface_batch_size_count") == passes + 3
    batch = BatchIdentifyRequest(requests=[asked("", people[0])])
    (result,) = (await behind.recognizer.BatchIdentify(batch)).results
    assert "space" in result.error.message
    bulk = [BulkEnrollRequest(enroll=EnrollRequest(subject_id="bob", maps=people[1:2]))]
    (answer,) = [answer async for answer in behind.gallery.BulkEnroll(iter(bulk))]
    assert "space" in answer.error.message
    # It embeds, and what needs no other embedding is answered.
    assert (await verify(behind, "", people[0], people[0])).similarity > 0.99

    await changed_over(behind)
    assert (await identify(behind, "", people[0])).decision == IDENTIFY_DECISION_MATCH
    await enroll(behind, "", "bob", people[1])
    assert (await identify(one, "", people[1])).candidates[0].subject_id == "bob"


async def test_cameras_of_who_was_left_behind_lose_no_map(
    replicas: Replicas, two_models: Path, people: list[CompactMap]
) -> None:
    """What is only kept is in no space; and a map that is refused is never sent again."""
    one, behind = replicas
    set_current(two_models, FAMILY, "2")
    await changed_over(one)
    sent = [StreamMapsRequest(sighting_id=str(uuid4()), map=people[0])]
    (answer,) = [answer async for answer in behind.recognizer.StreamMaps(iter(sent))]
    assert answer.outcome == StreamMapsResponse.OUTCOME_STORED
    await enroll(one, CAMERAS, "ada", people[0])
    found = await identify(one, CAMERAS, sent[0].sighting_id)
    assert found.candidates[0].subject_id == "ada"
