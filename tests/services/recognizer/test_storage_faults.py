"""What the recognizer answers while its gallery cannot be written to."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import event
from sqlalchemy.pool import Pool

from compactface.client import RequestFailed
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import (
    ON_DUPLICATE_ALLOW,
    DeleteSubjectRequest,
    ListSubjectsRequest,
)
from compactface.v1.recognizer_pb2 import IDENTIFY_DECISION_MATCH, StreamMapsRequest
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage import sqlite
from shared.errors import Unavailable
from tests.gallery_faces import SPACE
from tests.services.asking import CAMERAS, enroll, identify
from tests.services.hosting import Service, failure, running_recognizer

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


@pytest_asyncio.fixture(loop_scope="session")
async def service(
    tiny_models: Path, gallery: Path, people: list[CompactMap]
) -> AsyncIterator[Service]:
    """With few threads, and one person enrolled."""
    async with running_recognizer(
        tiny_models, gallery, gallery_threads=2, stream_collection=CAMERAS
    ) as running:
        await enroll(running, "", "ada", people[0])
        yield running


@contextmanager
def locked(gallery: Path) -> Iterator[None]:
    """Another process holds SQLite's lock for writing."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _LOCK, str(gallery)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout
    assert holder.stdout.readline() == "locked\n"
    try:
        yield
    finally:
        holder.communicate("")


class Storage:
    """Tells every connection to a gallery what SQLite is to refuse; it raises the errors itself."""

    def __init__(self, gallery: Path) -> None:
        self.pragma = ""
        self._gallery = gallery

    def checkout(self, connection: Any, *_: object) -> None:
        if self.pragma and self._is_of_the_gallery(connection):
            connection.execute(f"PRAGMA {self.pragma}").close()

    def _is_of_the_gallery(self, connection: Any) -> bool:
        """Services of other tests go on meanwhile, and keep their connections."""
        (_, _, file), *_ = connection.execute("PRAGMA database_list").fetchall()
        return Path(file).resolve() == self._gallery.resolve()


@pytest.fixture
def storage(gallery: Path) -> Iterator[Storage]:
    told = Storage(gallery)
    event.listen(Pool, "checkout", told.checkout)
    yield told
    event.remove(Pool, "checkout", told.checkout)


async def health(service: Service) -> int:
    stub = health_pb2_grpc.HealthStub(service.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest())
    return int(answer.status)


async def until_health(service: Service, status: int) -> None:
    async with asyncio.timeout(60):
        while await health(service) != status:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)


async def assert_reads_go_on(service: Service, face: CompactMap) -> None:
    answer = await identify(service, "", face)
    assert (answer.decision, answer.candidates[0].subject_id) == (IDENTIFY_DECISION_MATCH, "ada")
    listed = await service.gallery.ListSubjects(ListSubjectsRequest())
    assert "ada" in {subject.subject_id for subject in listed.subjects}


async def enroll_next(service: Service, face: CompactMap) -> None:
    await enroll(service, "", "", face, on_duplicate=ON_DUPLICATE_ALLOW)


async def refused_enrolment(service: Service, face: CompactMap) -> RequestFailed:
    """The error of the first enrolment for which there is no room: there may be for some."""
    for _ in range(100):
        with suppress(pytest.fail.Exception):  # it was stored
            return await failure(enroll_next(service, face))
    raise AssertionError("100 enrolments were stored")


async def test_a_file_that_another_process_locks_is_unavailable_for_writing(
    service: Service, gallery: Path, people: list[CompactMap]
) -> None:
    assert await health(service) == SERVING
    with locked(gallery):
        for call in (
            enroll(service, "", "bob", people[1]),
            service.gallery.DeleteSubject(DeleteSubjectRequest(subject_id="ada")),
        ):
            error = await failure(call)
            assert (error.code, error.reason) == ("UNAVAILABLE", "GALLERY_LOCKED")
            assert error.retry_after_s
        await until_health(service, NOT_SERVING)
        await assert_reads_go_on(service, people[0])
        sent = [StreamMapsRequest(sighting_id=str(uuid4()), map=people[0])]
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):  # so that it is sent again
            _ = [answer async for answer in service.recognizer.StreamMaps(iter(sent))]
    await until_health(service, SERVING)
    await enroll(service, "", "bob", people[1])


FULL = ("max_page_count = 1", "max_page_count = 1073741823")
READ_ONLY = ("query_only = ON", "query_only = OFF")


async def test_a_locked_file_is_not_taken_for_a_damaged_one_when_it_is_opened(
    gallery: Path,
) -> None:
    Gallery(gallery, embedding_space=SPACE).close()
    with locked(gallery), pytest.raises(Unavailable) as caught:
        Gallery(gallery, embedding_space=SPACE)
    assert caught.value.reason == "GALLERY_LOCKED"


@pytest.mark.parametrize(
    ("pragmas", "expected"),
    [
        (FULL, ("RESOURCE_EXHAUSTED", "GALLERY_DISK_FULL")),
        (READ_ONLY, ("UNAVAILABLE", "GALLERY_READ_ONLY")),
    ],
)
async def test_a_disk_that_takes_nothing_more_is_read_from(
    storage: Storage,
    service: Service,
    people: list[CompactMap],
    pragmas: tuple[str, str],
    expected: tuple[str, str],
) -> None:
    storage.pragma, cure = pragmas
    error = await refused_enrolment(service, people[1])
    assert (error.code, error.reason) == expected
    assert error.retry_after_s
    await until_health(service, NOT_SERVING)
    await assert_reads_go_on(service, people[0])
    error = await refused_enrolment(service, people[1])
    assert (error.code, error.reason) == expected
    storage.pragma = cure
    await until_health(service, SERVING)
    await enroll_next(service, people[1])


async def test_health_stays_as_it_is_while_the_fault_lasts(
    storage: Storage, service: Service, people: list[CompactMap]
) -> None:
    """What is tried in between is no easier than an enrolment."""
    storage.pragma, _ = FULL
    await refused_enrolment(service, people[1])
    await until_health(service, NOT_SERVING)
    for _ in range(15):
        await asyncio.sleep(0.2)
        assert await health(service) == NOT_SERVING


async def test_waiting_writers_keep_no_reader_waiting(
    service: Service, gallery: Path, people: list[CompactMap], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOCK_TIMEOUT_MS", 60_000)
    with locked(gallery):
        writers = [asyncio.create_task(enroll_next(service, people[1])) for _ in range(24)]
        embedded = 1 + len(writers)
        async with asyncio.timeout(30):
            while service.sample("compactface_batch_size_sum") < embedded:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for _ in range(5):
            await assert_reads_go_on(service, people[0])
        assert not any(writer.done() for writer in writers)
    await asyncio.gather(*writers)
    listed = await service.gallery.ListSubjects(ListSubjectsRequest())
    assert len(listed.subjects) == 1 + len(writers)
