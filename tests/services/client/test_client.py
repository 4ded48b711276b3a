"""`compactface.client`: both ways of calling, what is repeated, deadlines, and errors."""

import asyncio
import inspect
import os
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from compactface.client import (
    DeadlineExceeded,
    EncoderClient,
    Frame,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RecognizerClient,
    RequestFailed,
    Unauthenticated,
    Unavailable,
    aio,
    enrollment,
)
from compactface.v1 import alerts_pb2, encoder_pb2, gallery_pb2, recognizer_pb2
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import EnrollRequest
from tests.services.access import AccessFolder
from tests.services.conftest import clouds
from tests.services.hosting import Service, running_recognizer, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

REPEATED = {
    *("GetEncoderInfo", "GetRecognizerInfo"),
    *("Identify", "BatchIdentify", "Verify", "Embed", "Reconstruct"),
    *("GetCollection", "ListCollections", "GetSubject", "ListSubjects", "ReviewSubject"),
    *("GetFace", "ListFaces", "GetErasure", "ListAuditEvents", "Enroll"),
    *("ListSightings", "GetSighting", "ListCameras", "ListStrangers", "ListAlertRules"),
    "MergeSubjects",
}
ONCE = {
    *("Encode", "EncodeStream", "StreamMaps", "BulkEnroll", "Export", "Import", "Reembed"),
    "WatchSightings",
    *("CreateCollection", "UpdateCollection", "DeleteCollection"),
    *("UpdateSubject", "DeleteSubject", "DeleteFace", "DeleteSightings"),
    *("CreateAlertRule", "DeleteAlertRule", "TestAlertRule"),
}


async def test_all_that_a_recognizer_does_can_be_done_under_asyncio(
    recognizer: Service, people: list[CompactMap]
) -> None:
    collection = f"aio-{uuid.uuid4()}"
    async with aio.RecognizerClient(recognizer.address) as client:
        await client.collections.create(collection, max_fpir=0.02)
        enrolled = await client.subjects.enroll(
            people[:1], subject_id="ada", collection=collection, on_duplicate="allow"
        )
        found = await client.identify(people[0], collection=collection, min_similarity=0.9)
        assert [each.subject_id for each in found.candidates] == ["ada"]
        verified = await client.verify(people[0], "ada", collection=collection, min_similarity=0.9)
        assert verified.face_id == enrolled.faces[0].face_id

        archive = [chunk async for chunk in client.collections.export(collection)]
        copy = f"copy-{uuid.uuid4()}"
        assert (await client.collections.restore(archive, collection=copy)).subjects == 1

        await client.faces.delete(enrolled.faces[0].face_id, collection=collection)
        events = (await client.audit_events.list(collection_id=collection)).events
        assert [gallery_pb2.AuditOperation.Name(each.operation) for each in events] == [
            "AUDIT_OPERATION_CREATE_COLLECTION",
            "AUDIT_OPERATION_ENROLL",
            "AUDIT_OPERATION_EXPORT",
            "AUDIT_OPERATION_DELETE_FACE",
        ]


async def test_streams_under_asyncio_take_both_kinds_of_iterables(
    encoder: Service, recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    requests = [
        enrollment([face], collection=collection, subject_id=f"{n}", on_duplicate="allow")
        for n, face in enumerate([people[0], CompactMap(), people[1]])
    ]

    async def arriving() -> AsyncIterator[EnrollRequest]:
        for request in requests:
            yield request

    async with aio.RecognizerClient(recognizer.address) as client:
        answers = [each async for each in client.subjects.bulk_enroll(arriving())]
    assert [each.HasField("error") for each in answers] == [False, True, False]

    async with aio.EncoderClient(encoder.address) as camera:
        frames = [Frame(clouds(0), "a"), Frame(b"", "b"), Frame(clouds(1), "c")]
        encoded = [each async for each in camera.encode_stream(frames, kind="crop")]
    assert [(each.frame_id, each.HasField("error")) for each in encoded] == [
        *(("a", False), ("b", True), ("c", False)),
    ]


@pytest.mark.parametrize("client", [EncoderClient, RecognizerClient])
async def test_both_clients_have_the_same_methods_with_documentation(client: type) -> None:
    async def methods(kind: Any) -> dict[str, tuple[inspect.Signature, str]]:
        made = kind("localhost:1")
        groups = {"": made} | {
            name: group for name, group in vars(made).items() if not name.startswith("_")
        }
        found = {
            f"{name}.{method}": (inspect.signature(value), inspect.getdoc(value) or "")
            for name, group in groups.items()
            for method, value in inspect.getmembers(group, callable)
            if not method.startswith("_") and method != "close"
        }
        closed = made.close()
        if inspect.isawaitable(closed):
            await closed
        return found

    blocking = await methods(client)
    assert blocking == await methods(getattr(aio, client.__name__))
    assert all(text for _, text in blocking.values())
    assert len(blocking) >= (4 if client is EncoderClient else 25)


async def test_errors_are_of_a_class_and_name_reason_and_field(
    recognizer: Service, people: list[CompactMap]
) -> None:
    damaged = CompactMap(codec_id=people[0].codec_id, png=people[0].png[:-1])
    async with aio.RecognizerClient(recognizer.address) as client:
        with pytest.raises(InvalidArgument) as invalid:
            await client.identify(damaged)
        with pytest.raises(NotFound) as missing:
            await client.subjects.get("nobody")
    assert invalid.value.reason.startswith("MAP_")
    assert invalid.value.field == "probe.map.png"
    assert (missing.value.code, missing.value.field) == ("NOT_FOUND", "")
    assert missing.value.request_id
    assert missing.value.peer
    assert missing.value.peer.target == recognizer.address


async def test_an_unreachable_service_is_told_apart(free_port: int) -> None:
    async with aio.EncoderClient(f"127.0.0.1:{free_port}") as client:
        with pytest.raises(Unavailable):
            await client.info()
    with EncoderClient(f"127.0.0.1:{free_port}") as blocking, pytest.raises(Unavailable):
        await asyncio.to_thread(blocking.encode, clouds(0))


class Sabotage(grpc.GenericRpcHandler):
    """A service that fails every call as it is told to, and counts them."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.requests: list[bytes] = []
        self.hangs = False
        self.cancelled = 0

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        name = details.method.rsplit("/", 1)[1]

        async def fail(requests: AsyncIterator[bytes], context: Any) -> None:
            self.calls[name] += 1
            if self.hangs:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    self.cancelled += 1
                    raise
            self.requests += [request async for request in requests]
            await context.abort(grpc.StatusCode.UNAVAILABLE, "sabotage")

        return grpc.stream_stream_rpc_method_handler(fail)


@asynccontextmanager
async def sabotaged() -> AsyncIterator[tuple[Sabotage, str]]:
    server, handler = grpc.aio.server(), Sabotage()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield handler, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def all_methods() -> Iterator[tuple[str, type[Message]]]:
    for file in (encoder_pb2, recognizer_pb2, gallery_pb2, alerts_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                request = getattr(file, method.input_type.name)
                yield f"/{service.full_name}/{method.name}", request


async def test_only_what_changes_nothing_more_is_repeated() -> None:
    async with sabotaged() as (service, target), aio.RecognizerClient(target) as client:
        channel = client._transport.channel

        async def attempt(method: str, request: type[Message]) -> None:
            call = channel.stream_stream(method)
            with pytest.raises(grpc.aio.AioRpcError):
                async for _ in call(iter([request().SerializeToString()])):
                    pass

        methods = dict(all_methods())
        await asyncio.gather(*(attempt(*each) for each in methods.items()))
    assert {name for name, calls in service.calls.items() if calls > 1} == REPEATED
    served = {name.rsplit("/", 1)[1] for name in methods}
    assert served == REPEATED | ONCE, "decide whether a new method may be repeated"


@pytest.mark.parametrize("request_id", ["", "mine"])
async def test_an_enrollment_has_a_request_id_that_all_its_repetitions_share(
    request_id: str,
) -> None:
    async with sabotaged() as (service, target):
        async with aio.RecognizerClient(target) as client:
            with pytest.raises(Unavailable):
                await client.subjects.enroll([], subject_id="ada", request_id=request_id)
        sent = {EnrollRequest.FromString(request).request_id for request in service.requests}
        assert service.calls["Enroll"] == 4
    assert len(sent) == 1
    assert sent == {"mine"} if request_id else all(sent)


async def test_a_deadline_ends_a_call() -> None:
    async with sabotaged() as (service, target):
        service.hangs = True
        async with aio.RecognizerClient(target) as client:
            with pytest.raises(DeadlineExceeded):
                await client.with_timeout(0.2).subjects.get("ada")
        with RecognizerClient(target, timeout_s=0.2) as blocking, pytest.raises(DeadlineExceeded):
            await asyncio.to_thread(blocking.info)
        await until(lambda: service.cancelled == 2)


async def test_cancelling_a_task_cancels_its_call() -> None:
    async with sabotaged() as (service, target), aio.RecognizerClient(target) as client:
        service.hangs = True
        task = asyncio.create_task(client.info())
        await until(lambda: service.calls["GetRecognizerInfo"] == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: service.cancelled == 1)


async def test_an_error_of_what_is_sent_is_raised_and_not_swallowed(recognizer: Service) -> None:
    def broken() -> Iterator[Any]:
        raise OSError("the disk is gone")
        yield

    def blocking() -> None:
        with RecognizerClient(recognizer.address) as client:
            with pytest.raises(OSError, match="the disk is gone"):
                list(client.subjects.bulk_enroll(broken()))
            with pytest.raises(OSError, match="the disk is gone"):
                client.collections.restore(broken())

    await asyncio.to_thread(blocking)
    async with aio.RecognizerClient(recognizer.address) as client:
        with pytest.raises(OSError, match="the disk is gone"):
            async for _ in client.subjects.bulk_enroll(broken()):
                pass
        with pytest.raises(OSError, match="the disk is gone"):
            await client.collections.restore(broken())


async def test_what_is_too_large_fails_alone_under_asyncio(
    encoder: Service, recognizer: Service, people: list[CompactMap]
) -> None:
    limit = (
        await encoder.encoder.GetEncoderInfo(encoder_pb2.GetEncoderInfoRequest())
    ).max_image_bytes
    large = bytes(limit + 1)
    async with aio.EncoderClient(encoder.address) as camera:
        with pytest.raises(InvalidArgument, match=f"at most {limit}") as caught:
            await camera.encode(large)
        assert (caught.value.reason, caught.value.field) == ("IMAGE_TOO_LARGE", "image")
        frames = [Frame(clouds(0)), Frame(large), Frame(clouds(1))]
        answers = [each async for each in camera.encode_stream(frames, kind="crop")]
    assert [each.HasField("error") for each in answers] == [False, True, False]
    refused = RequestFailed.from_status(answers[1].error)
    assert isinstance(refused, InvalidArgument)
    assert refused.field == "request.image"
    async with aio.RecognizerClient(recognizer.address) as client:
        sightings = [(str(uuid.uuid4()), face) for face in people[:2]]
        acknowledged = [each async for each in client.stream_maps(sightings)]
    assert [each.sighting_id for each in acknowledged] == [id_ for id_, _ in sightings]


async def test_why_a_service_refuses_a_stream_is_told_while_requests_are_still_sent(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap]
) -> None:
    token = AccessFolder(tmp_path / "access.toml").token("identify")
    async with (
        running_recognizer(
            tiny_models, tmp_path / "gallery.sqlite", access=tmp_path / "access.toml"
        ) as service,
        aio.RecognizerClient(service.address, token=token) as client,
    ):
        for _ in range(20):  # gRPC loses the status of some streams only
            sightings = [(str(uuid.uuid4()), people[0])] * 99
            with pytest.raises(PermissionDenied, match="SCOPE_MISSING"):
                [each async for each in client.stream_maps(sightings)]
            with pytest.raises(PermissionDenied, match="SCOPE_MISSING"):
                await client.collections.restore([bytes(65536)] * 99)


async def test_a_token_goes_along_with_every_call(tiny_models: Path, tmp_path: Path) -> None:
    access = AccessFolder(tmp_path / "access.toml")
    token = access.token("enroll")
    gallery = tmp_path / "gallery.sqlite"
    async with running_recognizer(tiny_models, gallery, access=access.path) as service:
        async with aio.RecognizerClient(service.address, token=token) as client:
            assert not (await client.subjects.list()).subjects
            assert not [each async for each in client.subjects.bulk_enroll([])]
            with pytest.raises(PermissionDenied) as denied:
                await client.identify(CompactMap())
            assert denied.value.reason == "SCOPE_MISSING"
            other = client.with_token(access.token("identify"))
            await other.info()
            with pytest.raises(PermissionDenied):
                await other.subjects.list()
            with pytest.raises(Unauthenticated):
                await client.with_token("").info()
            assert not (await client.subjects.list()).subjects  # which keeps its own
            with pytest.raises(InvalidArgument) as refused:  # and not for want of time
                await client.erasures.get(1, wait=timedelta(seconds=-80))
            assert refused.value.reason == "OUT_OF_RANGE"
        async with aio.RecognizerClient(service.address) as stranger:
            with pytest.raises(Unauthenticated):
                await stranger.subjects.list()
        with RecognizerClient(service.address, token=token) as blocking:
            assert not (await asyncio.to_thread(blocking.subjects.list)).subjects

        listing = ("gallery", "subjects", "--recognizer", service.address)
        for environment, code in (({"COMPACTFACE_TOKEN": token}, 0), ({}, 1)):
            program = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "command_line", *listing),
                env=os.environ | environment,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            assert await program.wait() == code
