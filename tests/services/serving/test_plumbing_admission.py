import asyncio
from contextlib import suppress

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from tests.services.serving.plumbing_host import running, until
from tests.services.serving.plumbing_service import call


async def test_beyond_the_cap_calls_are_refused_while_health_answers() -> None:
    async with running(max_in_flight=2) as service:
        waiting = [asyncio.create_task(call(service.channel, "Unary", b"wait")) for _ in range(2)]
        await until(lambda: service.plumbing.running == 2)
        refused = service.channel.unary_unary("/plumbing.Plumbing/Unary")(b"hello")
        assert await refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await refused.details() == "2 requests are in flight; at most 2 are accepted"
        status = await rpc_status.aio.from_call(refused)
        retry = error_details_pb2.RetryInfo()
        assert status.details[-1].Unpack(retry)
        assert retry.retry_delay.ToMilliseconds() > 0

        health = health_pb2_grpc.HealthStub(service.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING

        service.plumbing.release.set()
        assert await asyncio.gather(*waiting) == [b"wait", b"wait"]
        assert await call(service.channel, "Unary", b"hello") == b"hello"


async def test_streams_have_a_cap_of_their_own() -> None:
    async with running(max_in_flight=1, max_streams=1) as service:
        stream = asyncio.create_task(call(service.channel, "BidiStream", b"wait"))
        await until(lambda: service.plumbing.running == 1)
        assert await call(service.channel, "Unary", b"hello") == b"hello"
        with pytest.raises(grpc.aio.AioRpcError, match="1 streams are in flight; at most 1"):
            await call(service.channel, "ServerStream", b"hello")
        service.plumbing.release.set()
        assert await stream == b"wait"


@pytest.mark.parametrize("method", ["Unary", "ServerStream", "ClientStream", "BidiStream"])
@pytest.mark.parametrize("ending", [b"bug", b"invalid"])
async def test_however_a_call_ends_its_place_is_free_again(method: str, ending: bytes) -> None:
    async with running(max_in_flight=1, max_streams=1) as service:
        for _ in range(3):
            with suppress(grpc.aio.AioRpcError):
                await call(service.channel, method, ending)
        assert (await call(service.channel, method, b"hello")).endswith(b"hello")


async def test_a_stream_that_a_client_drops_frees_its_place() -> None:
    async with running(max_streams=1) as service:
        for _ in range(3):
            dropped = asyncio.create_task(call(service.channel, "ServerStream", b"wait"))
            await until(lambda: service.plumbing.running == 1)
            dropped.cancel()
            await until(lambda: service.plumbing.running == 0)
        assert await call(service.channel, "ServerStream", b"hello") == b"first hello"
