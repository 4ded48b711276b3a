"""Export and Import against the real service, through the client that users have."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from compactface.client import RecognizerClient
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import ExportRequest, ImportRequest, ListCollectionsRequest
from compactface.v1.recognizer_pb2 import GetRecognizerInfoRequest
from tests.services.asking import enroll, identify
from tests.services.hosting import Service, failure, running_recognizer
from tests.tiny_model import write_tiny_model

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def exported(service: Service, collection: str) -> bytes:
    answers = service.gallery.Export(ExportRequest(collection=collection))
    return b"".join([answer.chunk async for answer in answers])


def pieces(archive: bytes, collection: str, size: int = 777) -> Iterator[ImportRequest]:
    for start in range(0, len(archive), size):
        chunk = archive[start : start + size]
        yield ImportRequest(collection="" if start else collection, chunk=chunk)


@pytest.fixture
def copy() -> str:
    """A collection that is not there yet."""
    return f"copy-{uuid.uuid4()}"


async def test_a_collection_moves_through_the_client(
    recognizer: Service, collection: str, people: list[CompactMap], copy: str, tmp_path: Path
) -> None:
    await enroll(recognizer, collection, "ada", people[0], people[1])
    await enroll(recognizer, collection, "grace", people[2])
    file = tmp_path / "archive"

    def move() -> tuple[int, int, str]:
        with RecognizerClient(recognizer.address) as client:
            file.write_bytes(b"".join(client.collections.export(collection)))
            answer = client.collections.restore(iter([file.read_bytes()]), collection=copy)
            return answer.subjects, answer.faces, answer.collection

    assert await asyncio.to_thread(move) == (2, 3, copy)
    found = await identify(recognizer, copy, people[2])
    assert (found.candidates[0].subject_id, found.candidates[0].similarity) == ("grace", 1)
    assert await exported(recognizer, copy) != b""


async def test_a_damaged_archive_is_refused_and_its_place_is_told(
    recognizer: Service, collection: str, people: list[CompactMap], copy: str
) -> None:
    await enroll(recognizer, collection, "ada", people[0])
    archive = bytearray(await exported(recognizer, collection))
    archive[-2000] ^= 1
    error = await failure(recognizer.gallery.Import(pieces(bytes(archive), copy)))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "ARCHIVE_DAMAGED")
    assert error.metadata["record"] == "3"
    *cut, _ = pieces(await exported(recognizer, collection), copy)
    error = await failure(recognizer.gallery.Import(iter(cut)))
    assert error.reason == "ARCHIVE_INCOMPLETE"
    assert copy not in await collections_of(recognizer)


async def collections_of(service: Service) -> list[str]:
    listed = await service.gallery.ListCollections(ListCollectionsRequest(page_size=1000))
    return [item.collection_id for item in listed.collections]


async def test_an_import_without_any_message_is_refused(recognizer: Service) -> None:
    error = await failure(recognizer.gallery.Import(iter([])))
    assert error.reason == "ARCHIVE_INCOMPLETE"


async def test_an_import_given_up_leaves_nothing(
    recognizer: Service, collection: str, people: list[CompactMap], copy: str
) -> None:
    await enroll(recognizer, collection, "ada", people[0])
    archive = await exported(recognizer, collection)
    call = recognizer.gallery.Import()
    await call.write(ImportRequest(collection=copy, chunk=archive[:-1]))
    call.cancel()
    again = await recognizer.gallery.Import(pieces(archive, copy))
    assert again.faces == 1


async def test_an_unknown_collection_is_not_exported(recognizer: Service) -> None:
    error = await failure(exported(recognizer, "nobody"))
    assert (error.code, error.reason) == ("NOT_FOUND", "COLLECTION_NOT_FOUND")


async def test_a_collection_is_not_overwritten(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "ada", people[0])
    archive = await exported(recognizer, collection)
    error = await failure(recognizer.gallery.Import(pieces(archive, "")))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", "COLLECTION_EXISTS")


async def test_an_archive_of_an_older_model_is_embedded_anew(
    recognizer: Service, collection: str, people: list[CompactMap], tmp_path: Path
) -> None:
    """On a machine whose model directory still has the version that wrote the maps."""
    await enroll(recognizer, collection, "ada", people[0])
    await enroll(recognizer, collection, "grace", people[1])
    archive = await exported(recognizer, collection)
    for version in ("1", "2"):
        scratch = tmp_path / f"scratch-{version}"
        write_tiny_model(tmp_path / "models", scratch, version=version, seed=int(version) - 1)
    async with running_recognizer(tmp_path / "models", tmp_path / "g" / "g.sqlite") as newer:
        answer = await newer.gallery.Import(pieces(archive, "moved"))
        assert (answer.subjects, answer.faces) == (2, 2)
        info = await newer.recognizer.GetRecognizerInfo(GetRecognizerInfoRequest())
        assert info.embedding_space.encode() in await exported(newer, "moved")
        assert info.embedding_space.encode() not in archive
        error = await failure(identify(newer, "moved", people[0]))
        assert error.reason == "UNKNOWN_CODEC"  # what version 1 writes is not served any more
