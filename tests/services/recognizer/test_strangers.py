"""Strangers: grouped as cameras see them, listed, named at once, and kept through a new model."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import (
    BulkEnrollRequest,
    EnrollRequest,
    EnrollResponse,
    GetCollectionRequest,
    ReembedRequest,
)
from compactface.v1.recognizer_pb2 import (
    IDENTIFY_DECISION_MATCH,
    DeleteSightingsRequest,
    ListSightingsRequest,
    ListStrangersRequest,
    Sighting,
    SightingFilter,
    Stranger,
    WatchSightingsRequest,
)
from recognizer_service.core.enroll import MAX_FACES_OF_STRANGER
from recognizer_service.gallery.storage.locations import Location, Servers
from shared.model_directory import ModelDirectory, set_current
from tests.locations import only_in_sqlite
from tests.services.asking import CAMERAS, enroll, group_strangers, with_quality
from tests.services.hosting import Service, failure, fields_of, running_recognizer
from tests.services.sightings import seen_and_identified
from tests.tiny_model import FAMILY

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def service(tiny_models: Path, location: Location) -> AsyncIterator[Service]:
    """A recognizer whose cameras' strangers are grouped, in every kind of database."""
    where: Any = location
    more = {}
    if isinstance(location, Servers):
        where = location.url.get_secret_value()
        more = {"milvus": location.milvus.uri} if location.milvus else {}
    async with running_recognizer(tiny_models, where, stream_collection=CAMERAS, **more) as running:
        await group_strangers(running)
        yield running


def shot(face: CompactMap, quality: float) -> CompactMap:
    """The same map from another picture of another quality."""
    changed = with_quality(face, quality)
    changed.capture_time.FromMilliseconds(round(1e6 * quality))
    return changed


async def listed(service: Service, ids: list[str], **only: Any) -> list[Sighting]:
    request = ListSightingsRequest(
        collection=CAMERAS, filter=SightingFilter(**only), page_size=1000
    )
    found = {
        one.sighting_id: one for one in (await service.recognizer.ListSightings(request)).sightings
    }
    return [found[id_] for id_ in ids]


async def strangers(service: Service, **options: Any) -> list[Stranger]:
    request = ListStrangersRequest(collection=CAMERAS, **options)
    return list((await service.recognizer.ListStrangers(request)).strangers)


async def name(service: Service, stranger: int, subject: str, **options: Any) -> EnrollResponse:
    request = EnrollRequest(
        collection=CAMERAS, subject_id=subject, stranger_number=stranger, **options
    )
    return await service.gallery.Enroll(request)


async def test_a_stranger_that_returns_is_named_at_once(
    service: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    first = await seen_and_identified(service, people[0], people[1])
    back = await seen_and_identified(service, again[0], people[0], camera="yard")
    one, other = sorted(await strangers(service), key=lambda each: each.stranger_number)
    assert (one.stranger_number, one.sightings, one.cameras) == (1, 3, 2)
    assert list(one.camera_ids) == ["yard", "door"]
    assert (other.stranger_number, other.sightings) == (2, 1)
    assert [each.stranger_number for each in await listed(service, [*first, *back])] == [1, 2, 1, 1]
    assert one.first_time.ToDatetime() < one.last_time.ToDatetime()
    assert one.best_sighting_id in {first[0], *back}
    assert [each.stranger_number for each in await strangers(service, min_sightings=2)] == [1]

    answer = await name(service, 1, "ada", display_name="Ada", request_id="once")
    assert (answer.subject.display_name, len(answer.faces)) == ("Ada", 3)
    assert answer.disagreements == []
    assert [each.stranger_number for each in await strangers(service)] == [2]
    for sighting in await listed(service, [first[0], *back]):
        assert sighting.identification.candidates[0].subject_id == "ada"
        assert sighting.stranger_number == 0
    repeated = await name(service, 1, "ada", display_name="Ada", request_id="once")
    assert repeated.repeated_request
    assert repeated.faces == answer.faces
    error = await failure(name(service, 2, "ada", display_name="Ada", request_id="once"))
    assert error.reason == "REQUEST_ID_REUSED"
    assert (await failure(name(service, 1, "ada"))).reason == "STRANGER_NOT_FOUND"


async def test_of_many_sightings_the_best_are_enrolled_and_all_are_matched(
    service: Service, people: list[CompactMap]
) -> None:
    qualities = [0.3 + 0.02 * n for n in range(MAX_FACES_OF_STRANGER + 12)]
    ids = await seen_and_identified(service, *(shot(people[0], quality) for quality in qualities))
    (one,) = await strangers(service)
    assert (one.sightings, one.best_sighting_id) == (len(ids), ids[-1])
    request = EnrollRequest(collection=CAMERAS, subject_id="ada", stranger_number=1)
    (result,) = [
        answer
        async for answer in service.gallery.BulkEnroll(iter([BulkEnrollRequest(enroll=request)]))
    ]
    enrolled = [face.quality for face in result.response.faces]
    best_first = sorted(qualities, reverse=True)[:MAX_FACES_OF_STRANGER]
    assert enrolled == pytest.approx(best_first)
    async with asyncio.timeout(20):
        while await strangers(service):  # noqa: ASYNC110 - it is asked
            await asyncio.sleep(0.01)
    for sighting in await listed(service, ids):
        assert sighting.identification.decision == IDENTIFY_DECISION_MATCH


async def test_watchers_learn_the_stranger_with_the_sighting(
    service: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    await seen_and_identified(service, people[0])
    page = await service.recognizer.ListStrangers(ListStrangersRequest(collection=CAMERAS))
    only = SightingFilter(stranger_number=page.strangers[0].stranger_number)
    watch = service.recognizer.WatchSightings(
        WatchSightingsRequest(collection=CAMERAS, resume_token=page.resume_token, filter=only)
    )
    _, back = await seen_and_identified(service, people[1], again[0])
    async with asyncio.timeout(20):
        answer = await watch.read()
    watch.cancel()
    assert (answer.sighting_id, answer.sighting.stranger_number) == (back, 1)


async def test_a_stranger_is_deleted_with_its_sightings(
    service: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    await seen_and_identified(service, people[0], again[0], people[1])
    answer = await service.recognizer.DeleteSightings(
        DeleteSightingsRequest(collection=CAMERAS, filter=SightingFilter(stranger_number=1))
    )
    assert answer.sightings_deleted == 2
    assert [one.stranger_number for one in await strangers(service)] == [2]


async def test_faces_too_poor_to_enroll_are_in_no_group(
    service: Service, people: list[CompactMap]
) -> None:
    (poor,) = await seen_and_identified(service, with_quality(people[0], 0.01))
    assert (await listed(service, [poor]))[0].stranger_number == 0
    assert await strangers(service) == []


async def test_strangers_are_off_unless_asked_for(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap]
) -> None:
    async with running_recognizer(
        tiny_models, tmp_path / "gallery.sqlite", stream_collection=CAMERAS
    ) as service:
        got = await service.gallery.GetCollection(GetCollectionRequest(collection=CAMERAS))
        assert got.collection.max_stranger_fpir == 0
        await seen_and_identified(service, people[0], people[0])
        assert await strangers(service) == []


@only_in_sqlite
async def test_bad_questions_are_refused_by_name(
    service: Service, people: list[CompactMap]
) -> None:
    for ask, reason, field in (
        (name(service, 7, "ada"), "STRANGER_NOT_FOUND", None),
        (name(service, 2**64 - 1, "ada"), "STRANGER_NOT_FOUND", None),
        (name(service, 7, "ada", maps=people[:1]), "STRANGER_WITH_FACES", "stranger_number"),
        (strangers(service, page_token="x"), "INVALID_PAGE_TOKEN", "page_token"),
        (strangers(service, page_size=1001), "OUT_OF_RANGE", "page_size"),
        (listed(service, [], stranger_number=2**63), "OUT_OF_RANGE", "filter.stranger_number"),
        (group_strangers(service, 1.5), "INVALID_RATE", "collection.max_stranger_fpir"),
    ):
        error = await failure(ask)
        assert error.reason == reason
        assert fields_of(error) == ([field] if field else [])


async def test_a_subject_with_little_room_gets_what_fits(
    service: Service, people: list[CompactMap]
) -> None:
    await enroll(service, CAMERAS, "ada", *[people[5]] * 30)
    await seen_and_identified(
        service, *(shot(people[0], quality) for quality in (0.4, 0.5, 0.6, 0.7))
    )
    answer = await name(service, 1, "ada")
    assert (len(answer.faces), answer.subject.face_count) == (2, 32)
    await seen_and_identified(service, people[1])
    assert (await failure(name(service, 2, "ada"))).reason == "TOO_MANY_FACES"


def spaces_of(gallery: Path) -> list[str]:
    """The spaces in which faces of strangers are embedded."""
    with closing(sqlite3.connect(gallery)) as connection:
        rows = connection.execute("SELECT DISTINCT space FROM grouped").fetchall()
    return [space for (space,) in rows]


async def test_strangers_outlive_a_change_of_model(
    two_models: Path, tmp_path: Path, people: list[CompactMap], again: list[CompactMap]
) -> None:
    async with running_recognizer(
        two_models, tmp_path / "gallery.sqlite", stream_collection=CAMERAS
    ) as service:
        await group_strangers(service)
        await enroll(service, CAMERAS, "ada", people[5])
        await seen_and_identified(service, people[0], people[1])
        set_current(two_models, FAMILY, "2")
        served = ModelDirectory.load(two_models, FAMILY).manifest.embedding_space
        async with asyncio.timeout(60):
            while not (await service.gallery.Reembed(ReembedRequest())).done:  # noqa: ASYNC110 - it is asked
                await asyncio.sleep(0.05)
            while await asyncio.to_thread(spaces_of, tmp_path / "gallery.sqlite") != [served]:  # noqa: ASYNC110 - the file is looked at
                await asyncio.sleep(0.05)
        await seen_and_identified(service, again[0])
        found = {one.stranger_number: one.sightings for one in await strangers(service)}
        assert found == {1: 2, 2: 1}
