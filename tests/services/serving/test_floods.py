"""One client that floods a service, and another that goes on as if nothing were."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.errors import Overloaded
from shared.places import Places
from tests.services.hosting import failure, until
from tests.services.serving.plumbing_host import running
from tests.services.serving.plumbing_service import NAME, call

CHECK = health_pb2.HealthCheckRequest()


def headers_alone(channel: grpc.aio.Channel, path: str) -> Any:
    """A call that never sends its request."""

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    return channel.stream_unary(path)(nothing())


def apart(port: int) -> grpc.aio.Channel:
    """A channel with a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)


async def test_a_request_that_never_comes_is_given_up() -> None:
    async with running(receive_seconds=0.2) as service:
        error = await failure(headers_alone(service.channel, f"/{NAME}/Unary"))
        assert error.reason == "REQUEST_NOT_RECEIVED"
        assert "within 0.2 s" in str(error)
        assert service.registry.get_sample_value(
            "grpc_server_handled_total",
            {
                "grpc_type": "unary",
                "grpc_service": NAME,
                "grpc_method": "Unary",
                "grpc_code": "DEADLINE_EXCEEDED",
            },
        )


@pytest.mark.parametrize("kind", ["stream_unary", "stream_stream"])
async def test_a_call_that_ends_without_a_request_says_so(kind: str) -> None:
    async with running() as service:
        method = "Unary" if kind == "stream_unary" else "ServerStream"
        ended = getattr(service.channel, kind)(f"/{NAME}/{method}")(iter(()))
        error = await failure(ended if kind == "stream_unary" else anext(aiter(ended)))
        assert error.reason == "NO_REQUEST"


@pytest.mark.parametrize("path", [f"/{NAME}/Unary", "/grpc.health.v1.Health/Check"])
async def test_headers_without_requests_shut_nobody_out(path: str) -> None:
    async with (
        running(receive_seconds=60, max_receiving=10) as service,
        apart(service.port) as flooding,
    ):
        flood = [headers_alone(flooding, path) for _ in range(20)]
        codes = [asyncio.ensure_future(each.code()) for each in flood]
        await until(lambda: sum(code.done() for code in codes) == 12)
        for each, code in zip(flood, codes, strict=True):
            if code.done():
                assert (await failure(each)).reason == "TOO_MANY_INCOMPLETE_REQUESTS"

        assert await call(service.channel, "Unary", b"hello", timeout=20) == b"hello"
        health = health_pb2_grpc.HealthStub(service.channel)
        await health.Check(CHECK, timeout=20)
        for each in flood:
            each.cancel()
        await asyncio.gather(*codes)


async def test_watches_of_health_by_one_client_leave_room_for_probes() -> None:
    async with running(max_streams=10) as service, apart(service.port) as flooding:
        watch = health_pb2_grpc.HealthStub(flooding).Watch
        watches = [watch(CHECK) for _ in range(8)]
        for each in watches:
            await each.read()
        error = await failure(watch(CHECK).read())
        assert error.reason == "TOO_MANY_CALLS"
        await health_pb2_grpc.HealthStub(service.channel).Check(CHECK, timeout=20)


async def test_idle_streams_of_one_client_leave_room_for_other_cameras() -> None:
    async with running(max_streams=10) as service, apart(service.port) as flooding:
        idle = [headers_alone(flooding, f"/{NAME}/BidiStream") for _ in range(20)]
        codes = [asyncio.ensure_future(each.code()) for each in idle]
        await until(lambda: sum(code.done() for code in codes) == 12)
        assert {code.result() for code in codes if code.done()} == {
            grpc.StatusCode.RESOURCE_EXHAUSTED
        }
        assert await call(service.channel, "BidiStream", b"hello", timeout=20) == b"hello"
        for each in idle:
            each.cancel()
        await asyncio.gather(*codes)


async def test_a_client_is_known_by_name_whatever_its_connections() -> None:
    names = ("mallory", "mallory", "alice")
    places = Places(10, what="requests", retry_after_s=1)
    for _ in range(8):
        places.take(names[:1])
    with pytest.raises(Overloaded, match="8 requests of this client and 8 of 10 in all"):
        places.take(names[1:2])
    places.take(names[2:])


@pytest.mark.parametrize(("greedy", "left"), [(1, 2), (2, 1), (4, 1)])
def test_however_many_clients_want_everything_there_is_room_for_another(
    greedy: int, left: int
) -> None:
    places = Places(10, what="requests", retry_after_s=1)
    for client in range(greedy):
        with suppress(Overloaded):
            while True:
                places.take((str(client),))
    assert 10 - places.taken <= left
    places.free(("0",))
    places.take(("another",))


@pytest.mark.parametrize("says", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
async def test_a_connection_that_never_shakes_hands_is_closed(says: bytes) -> None:
    async with running(handshake_seconds=0.3) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(says)
        async with asyncio.timeout(20):
            await reader.read()  # to its end
        writer.close()


async def test_a_connection_without_calls_is_closed() -> None:
    async with running(idle_seconds=0.5) as service:
        await call(service.channel, "Unary", b"hello")
        await until(lambda: service.channel.get_state() is not grpc.ChannelConnectivity.READY)
        assert await call(service.channel, "Unary", b"hello") == b"hello"


async def test_connections_beyond_the_cap_are_closed() -> None:
    async with running(max_connections=3) as service:
        await call(service.channel, "Unary", b"hello")
        silent = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(6)]
        async with asyncio.timeout(20):
            await asyncio.wait(
                [asyncio.ensure_future(_end(reader)) for reader, _ in silent],
                return_when=asyncio.FIRST_COMPLETED,
            )
        assert await call(service.channel, "Unary", b"hello") == b"hello"
        for _, writer in silent:
            writer.close()


async def _end(reader: asyncio.StreamReader) -> None:
    while await reader.read(1024):
        pass
