"""Every method of both services against every kind of caller."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from compactface.client.stream_status import StreamStatus
from compactface.v1 import alerts_pb2, encoder_pb2, gallery_pb2, recognizer_pb2
from shared.serving import authorization
from shared.serving.access_file import ScopeName
from shared.serving.rights import collections_in, need
from tests.services.access import AccessFolder, bearer
from tests.services.authority import Authority
from tests.services.hosting import Service, running_encoder, running_recognizer

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVICES = {
    "alerts": alerts_pb2.DESCRIPTOR.services_by_name["AlertService"],
    "encoder": encoder_pb2.DESCRIPTOR.services_by_name["EncoderService"],
    "gallery": gallery_pb2.DESCRIPTOR.services_by_name["GalleryService"],
    "recognizer": recognizer_pb2.DESCRIPTOR.services_by_name["RecognizerService"],
}
METHODS = {method.name: method for service in SERVICES.values() for method in service.methods}
SCOPES = frozenset(ScopeName.__args__)  # type: ignore[attr-defined]
OF_ADMIN = {"encode", "stream", "identify", "verify", "enroll"}
NEVER_IMPLIED = {"watch", "reconstruct", "embed", "export", "metrics"}


def a_request(method: MethodDescriptor) -> Message:
    request: Message = GetMessageClass(method.input_type)()
    if method.name == "BatchIdentify":
        request.requests.add()  # type: ignore[attr-defined]
    return request


def scope_of(name: str) -> str:
    scope = need(METHODS[name].containing_service.full_name, name).scope
    assert scope is not None, f"{name} states no scope"
    return scope


def is_about_collections(name: str) -> bool:
    method = METHODS[name]
    wants = need(method.containing_service.full_name, name)
    # An encoder's stream goes where the server says.
    return name == "StreamMaps" or bool(collections_in(a_request(method), wants))


@pytest.fixture(scope="session")
def access(tmp_path_factory: pytest.TempPathFactory) -> AccessFolder:
    folder = AccessFolder(tmp_path_factory.mktemp("access") / "access.toml")
    folder.role(["identify"], ["*"])
    return folder


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def services(
    tiny_models: Path, tmp_path_factory: pytest.TempPathFactory, access: AccessFolder
) -> AsyncIterator[dict[str, Service]]:
    gallery = tmp_path_factory.mktemp("gallery") / "gallery.sqlite"
    async with (
        running_encoder(tiny_models, access=access.path) as encoder,
        running_recognizer(tiny_models, gallery, access=access.path) as recognizer,
    ):
        yield {
            "alerts": recognizer,
            "encoder": encoder,
            "gallery": recognizer,
            "recognizer": recognizer,
        }


async def ask(
    services: dict[str, Service], name: str, *, token: str | None = None, request: Any = None
) -> tuple[str, str]:
    """Status code and reason that a call meets; ("OK", "") for an answer."""
    method = METHODS[name]
    stub = next(stub for stub, service in SERVICES.items() if service == method.containing_service)
    call = getattr(getattr(services[stub], stub), name)
    return await outcome(call, method, request or a_request(method), bearer(token) if token else ())


async def outcome(
    call: Callable[..., Any], method: MethodDescriptor, request: Message, metadata: Any
) -> tuple[str, str]:
    sent: Any = iter([request]) if method.client_streaming else request
    running = call(sent, metadata=metadata, timeout=20)
    ended = StreamStatus(running)
    try:
        if method.server_streaming:
            async for _ in running:
                break
            running.cancel()
        else:
            await running
    except grpc.aio.AioRpcError as error:
        sent_by_server = ended.of(error)
        status = rpc_status.from_call(sent_by_server)  # type: ignore[arg-type]
        reason = next(iter(status.details), None) if status else None
        return sent_by_server.code().name, _reason(reason)
    return "OK", ""


def _reason(detail: Any) -> str:
    info = ErrorInfo()
    return info.reason if detail is not None and detail.Unpack(info) else ""


every_method = pytest.mark.parametrize("name", METHODS)


@every_method
async def test_states_a_scope(name: str) -> None:
    assert scope_of(name) in SCOPES | {"any"}


@every_method
async def test_refuses_who_shows_nothing(services: dict[str, Service], name: str) -> None:
    assert await ask(services, name) == ("UNAUTHENTICATED", "NO_CREDENTIAL")


@every_method
async def test_refuses_an_unknown_token(services: dict[str, Service], name: str) -> None:
    token = "cf_abcdefgh_" + 43 * "x"
    assert await ask(services, name, token=token) == ("UNAUTHENTICATED", "TOKEN_UNKNOWN")


@every_method
async def test_refuses_a_known_id_with_another_secret(
    services: dict[str, Service], access: AccessFolder, name: str
) -> None:
    token = access.token(*SCOPES)
    changed = token[:-1] + ("A" if token[-1] != "A" else "B")
    assert await ask(services, name, token=changed) == ("UNAUTHENTICATED", "TOKEN_UNKNOWN")


@every_method
async def test_refuses_an_expired_token(
    services: dict[str, Service], access: AccessFolder, name: str
) -> None:
    token = access.token(*SCOPES, expires_in=timedelta(seconds=-1))
    assert await ask(services, name, token=token) == ("UNAUTHENTICATED", "TOKEN_EXPIRED")


@every_method
async def test_refuses_a_revoked_token_at_once(
    services: dict[str, Service], access: AccessFolder, name: str
) -> None:
    token = access.token(*SCOPES)
    assert (await ask(services, name, token=token))[0] not in DENIED
    access.revoke(token)
    assert await ask(services, name, token=token) == ("UNAUTHENTICATED", "TOKEN_REVOKED")


@pytest.mark.parametrize("name", [name for name in METHODS if scope_of(name) != "any"])
async def test_refuses_every_other_scope(
    services: dict[str, Service], access: AccessFolder, name: str
) -> None:
    scope = scope_of(name)
    others = SCOPES - {scope} - ({"admin"} if scope in OF_ADMIN else set())
    token = access.token(*others)
    assert await ask(services, name, token=token) == ("PERMISSION_DENIED", "SCOPE_MISSING")


@pytest.mark.parametrize("name", [*filter(is_about_collections, METHODS)])
async def test_refuses_another_collection(
    services: dict[str, Service], access: AccessFolder, name: str
) -> None:
    token = access.token(*SCOPES, collections=["elsewhere"])
    denied = ("PERMISSION_DENIED", "COLLECTION_FORBIDDEN")
    assert await ask(services, name, token=token) == denied


DENIED = ("UNAUTHENTICATED", "PERMISSION_DENIED")


@every_method
async def test_admits_the_right_role(
    services: dict[str, Service], access: AccessFolder, name: str
) -> None:
    scope = scope_of(name)
    token = access.token("identify" if scope == "any" else scope)
    assert (await ask(services, name, token=token))[0] not in DENIED


@pytest.mark.parametrize("name", [*SERVICES["gallery"].methods_by_name, "Identify", "StreamMaps"])
async def test_refuses_a_certificate_without_a_role(
    certified: Callable[[str], Service], name: str
) -> None:
    services = {"gallery": certified("stranger"), "recognizer": certified("stranger")}
    assert await ask(services, name) == ("UNAUTHENTICATED", "CERTIFICATE_UNKNOWN")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def certified(
    tiny_models: Path,
    tmp_path_factory: pytest.TempPathFactory,
    access: AccessFolder,
    authority: Authority,
) -> AsyncIterator[Callable[[str], Service]]:
    """A recognizer with mutual TLS, as seen by the holder of a certificate."""
    gallery = tmp_path_factory.mktemp("gallery") / "gallery.sqlite"
    certificate, key = authority.issue("server")
    channels: dict[str, grpc.aio.Channel] = {}
    async with running_recognizer(
        tiny_models,
        gallery,
        access=access.path,
        tls_certificate=certificate,
        tls_key=key,
        tls_client_ca=authority.certificate,
    ) as service:

        def seen_by(name: str) -> Service:
            if name not in channels:
                chain, private = (path.read_bytes() for path in authority.issue(name))
                credentials = grpc.ssl_channel_credentials(
                    authority.certificate.read_bytes(), private, chain
                )
                channels[name] = grpc.aio.secure_channel(
                    f"localhost:{service.host.port}", credentials
                )
            return Service(service.host, channels[name], service.registry)

        yield seen_by
        for channel in channels.values():
            await channel.close()


async def test_a_certificate_has_the_rights_of_its_role(
    access: AccessFolder, certified: Callable[[str], Service]
) -> None:
    access.certificate("desk", "enroll", collections=["default"])
    desk = certified("desk")
    answer = await desk.gallery.ListSubjects(gallery_pb2.ListSubjectsRequest())
    assert not answer.subjects
    with pytest.raises(grpc.aio.AioRpcError, match="does not extend"):
        await desk.gallery.ListSubjects(gallery_pb2.ListSubjectsRequest(collection="vault"))
    with pytest.raises(grpc.aio.AioRpcError, match="scope identify"):
        await desk.recognizer.Identify(recognizer_pb2.IdentifyRequest())


async def test_an_item_of_a_batch_cannot_reach_another_collection(
    services: dict[str, Service], access: AccessFolder
) -> None:
    token = access.token("identify", collections=["lobby"])
    request = recognizer_pb2.BatchIdentifyRequest()
    request.requests.add(collection="lobby")
    request.requests.add(collection="vault")
    answer = await ask(services, "BatchIdentify", token=token, request=request)
    assert answer == ("PERMISSION_DENIED", "COLLECTION_FORBIDDEN")


async def test_a_later_message_of_a_stream_cannot_either(
    services: dict[str, Service], access: AccessFolder
) -> None:
    token = access.token("enroll", collections=["lobby"])
    messages = [gallery_pb2.BulkEnrollRequest(), gallery_pb2.BulkEnrollRequest()]
    messages[0].enroll.collection, messages[1].enroll.collection = "lobby", "vault"
    stream = services["gallery"].gallery.BulkEnroll(iter(messages), metadata=bearer(token))
    with pytest.raises(grpc.aio.AioRpcError, match="does not extend"):
        async for _ in stream:
            pass


@pytest.mark.parametrize("scope", sorted(NEVER_IMPLIED))
async def test_admin_implies_no_sensitive_scope(
    services: dict[str, Service], access: AccessFolder, scope: str
) -> None:
    methods = [name for name in METHODS if scope_of(name) == scope]
    token = access.token("admin")
    for name in methods:
        assert await ask(services, name, token=token) == ("PERMISSION_DENIED", "SCOPE_MISSING")


async def test_a_damaged_file_changes_nothing(
    services: dict[str, Service], access: AccessFolder
) -> None:
    token = access.token("enroll")
    assert await ask(services, "ListSubjects", token=token) == ("OK", "")
    content = access.path.read_text(encoding="utf-8")
    access.path.write_text("[roles", encoding="utf-8")
    try:
        assert await ask(services, "ListSubjects", token=token) == ("OK", "")
        assert (await ask(services, "ListSubjects"))[0] == "UNAUTHENTICATED"
    finally:
        access.path.write_text(content, encoding="utf-8")


async def test_refusals_are_counted(services: dict[str, Service], access: AccessFolder) -> None:
    labels = {"method": "Export", "reason": "SCOPE_MISSING"}
    before = services["gallery"].sample("compactface_denied_calls_total", **labels)
    await ask(services, "Export", token=access.token("admin"))
    after = services["gallery"].sample("compactface_denied_calls_total", **labels)
    assert after == before + 1


async def test_a_stream_ends_when_its_token_is_revoked(
    services: dict[str, Service], access: AccessFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorization, "_CHECK_STREAMS_EVERY_S", 0.02)
    token = access.token("stream")
    stream = services["recognizer"].recognizer.StreamMaps(metadata=bearer(token))
    await stream.write(recognizer_pb2.StreamMapsRequest(sighting_id="1"))
    assert (await stream.read()).sighting_id == "1"
    access.revoke(token)
    with pytest.raises(grpc.aio.AioRpcError, match="revoked"):
        async with asyncio.timeout(5):
            await stream.read()


@pytest.mark.parametrize("narrowed", ["scope", "collection"])
async def test_a_stream_ends_when_its_role_is_narrowed(
    services: dict[str, Service],
    access: AccessFolder,
    monkeypatch: pytest.MonkeyPatch,
    narrowed: str,
) -> None:
    monkeypatch.setattr(authorization, "_CHECK_STREAMS_EVERY_S", 0.02)
    token = access.token("watch", collections=["default", "lobby"], name=narrowed)
    stream = services["recognizer"].recognizer.WatchSightings(
        recognizer_pb2.WatchSightingsRequest(collection="default"), metadata=bearer(token)
    )
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(0.2)
    assert not reading.done()
    if narrowed == "scope":
        access.change(token, "enroll", collections=["default", "lobby"])
        expected = "does not include the scope watch"
    else:
        access.change(token, "watch", collections=["lobby"])
        expected = "does not extend to 'default'"
    with pytest.raises(grpc.aio.AioRpcError, match=expected):
        async with asyncio.timeout(5):
            await reading


async def test_what_a_stream_sends_later_is_checked_by_the_role_as_it_is_then(
    services: dict[str, Service], access: AccessFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorization, "_CHECK_STREAMS_EVERY_S", 0.02)
    token = access.token("enroll", collections=["lobby", "vault"])
    messages = [gallery_pb2.BulkEnrollRequest(), gallery_pb2.BulkEnrollRequest()]
    messages[0].enroll.collection, messages[1].enroll.collection = "lobby", "vault"
    stream = services["gallery"].gallery.BulkEnroll(metadata=bearer(token))
    await stream.write(messages[0])
    await stream.read()
    access.change(token, "enroll", collections=["lobby"])
    await asyncio.sleep(0.5)  # the role still covers what the stream has begun with
    await stream.write(messages[1])
    with pytest.raises(grpc.aio.AioRpcError, match="does not extend to 'vault'"):
        async with asyncio.timeout(5):
            await stream.read()


async def test_who_is_shown_a_face_or_an_embedding_is_written_down(
    services: dict[str, Service], access: AccessFolder
) -> None:
    token = access.token("encode", "embed", "reconstruct", name="curious")
    photo = (Path(__file__).parents[2] / "data/eileen_collins_portrait.jpg").read_bytes()
    request = encoder_pb2.EncodeRequest(image=photo)
    answer = await services["encoder"].encoder.Encode(request, metadata=bearer(token))
    face = answer.faces[0].map
    refused = await ask(services, "Embed", token=token)
    embed = recognizer_pb2.EmbedRequest(map=face)
    shown = recognizer_pb2.ReconstructRequest(probe=recognizer_pb2.Probe(map=face))
    assert refused[0] == "FAILED_PRECONDITION"
    assert await ask(services, "Embed", token=token, request=embed) == ("OK", "")
    assert await ask(services, "Reconstruct", token=token, request=shown) == ("OK", "")
    log = await services["gallery"].gallery.ListAuditEvents(
        gallery_pb2.ListAuditEventsRequest(page_size=1000), metadata=bearer(access.token("admin"))
    )
    told = [event.operation for event in log.events if event.caller == "curious"]
    assert told == [
        gallery_pb2.AUDIT_OPERATION_EMBED,
        gallery_pb2.AUDIT_OPERATION_RECONSTRUCT,
    ]


async def test_the_uplink_shows_its_token(
    services: dict[str, Service], access: AccessFolder, tiny_models: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(access.token("encode") + "\n")  # not the right scope yet
    photo = (Path(__file__).parents[2] / "data/eileen_collins_portrait.jpg").read_bytes()
    async with running_encoder(
        tiny_models,
        uplink_target=services["recognizer"].address,
        uplink_token_file=token,
        uplink_spool=tmp_path / "spool",
    ) as encoder:
        await encoder.encoder.Encode(encoder_pb2.EncodeRequest(image=photo, forward=True))
        assert encoder.sample("compactface_uplink_acknowledged_total") == 0
        token.write_text(access.token("stream", collections=["default"]))
        async with asyncio.timeout(20):
            while not encoder.sample("compactface_uplink_acknowledged_total"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
