import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from shared.serving.settings_loader import SettingsError
from tests.services.serving.plumbing_host import metrics_server, running, serving, until
from tests.services.serving.plumbing_service import NAME, call

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health(channel: grpc.aio.Channel, name: str) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status


async def test_health_is_serving_only_once_the_service_serves() -> None:
    async with running() as service:
        assert [await health(service.channel, name) for name in ("", NAME)] == [NOT_SERVING] * 2
    async with serving() as service:
        assert [await health(service.channel, name) for name in ("", NAME)] == [SERVING] * 2


async def test_a_health_watch_learns_of_the_stop_and_does_not_hold_it_up() -> None:
    async with serving(drain_seconds=60) as service:
        request = health_pb2.HealthCheckRequest(service=NAME)
        watch = health_pb2_grpc.HealthStub(service.channel).Watch(request)
        assert (await watch.read()).status == SERVING
        service.host.stopping.set()
        assert (await watch.read()).status == NOT_SERVING


async def test_what_outlasts_the_drain_is_cut() -> None:
    async with serving(drain_seconds=0.2) as service:
        endless = asyncio.create_task(call(service.channel, "BidiStream", b"wait"))
        await until(lambda: service.plumbing.running == 1)
        service.host.stopping.set()
        with pytest.raises(grpc.aio.AioRpcError):
            await endless
        assert service.plumbing.running == 0


@pytest.mark.parametrize("enabled", [True, False])
async def test_reflection_answers_only_behind_its_flag(enabled: bool) -> None:  # noqa: FBT001
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    async with running(reflection=enabled) as service:
        answers = service.channel.stream_stream(path)(iter([b"\x3a\x00"]))  # list_services = ""
        if enabled:
            assert NAME.encode() in await answers.read()
        else:
            with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                await answers.read()


async def test_a_message_beyond_the_limit_is_refused() -> None:
    limit = 1 << 20
    async with running(max_message_bytes=limit) as service:
        assert await call(service.channel, "Unary", b"x" * limit) == b"x" * limit
        with pytest.raises(grpc.aio.AioRpcError, match="RESOURCE_EXHAUSTED"):
            await call(service.channel, "Unary", b"x" * (limit + 1))


async def test_a_taken_metrics_port_is_a_settings_error() -> None:
    with (
        closing(metrics_server(CollectorRegistry())) as taken,
        pytest.raises(SettingsError, match=f"metrics at 127.0.0.1:{taken.port}"),
    ):
        async with running(metrics_port=taken.port):
            pass


async def test_a_taken_port_is_a_settings_error() -> None:
    async with running() as service:
        with pytest.raises(SettingsError, match=f"127.0.0.1:{service.port}: cannot be bound"):
            async with running(port=service.port):
                pass


@asynccontextmanager
async def process() -> AsyncIterator[tuple[asyncio.subprocess.Process, grpc.aio.Channel]]:
    """The plumbing service as a process of its own, found by its log line "listening"."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.services.serving.plumbing_service",
        env={**os.environ, "COMPACTFACE_PLUMBING_DRAIN_SECONDS": "20"},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        listening = json.loads(await asyncio.wait_for(child.stderr.readline(), 30))
        assert listening["event"] == "listening"
        async with grpc.aio.insecure_channel(listening["address"]) as channel:
            yield child, channel
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_the_call_in_flight_finish_and_exits_with_zero(
    number: signal.Signals,
) -> None:
    async with process() as (child, channel):
        await call(channel, "Unary", b"hello")
        unary = asyncio.create_task(call(channel, "Unary", b"sleep:1"))
        stream = asyncio.create_task(call(channel, "BidiStream", b"sleep:1"))
        await asyncio.sleep(0.3)
        child.send_signal(number)
        assert await asyncio.gather(unary, stream) == [b"sleep:1", b"sleep:1"]
        _, log = await asyncio.wait_for(child.communicate(), 10)
        events = [line for line in log.decode().splitlines() if "draining" in line or "fl" in line]
        assert child.returncode == 0
        assert events[-1] == "flushed"


async def test_draining_refuses_new_calls() -> None:
    async with process() as (child, channel):
        await call(channel, "Unary", b"hello")
        last = asyncio.create_task(call(channel, "Unary", b"sleep:1"))
        await asyncio.sleep(0.3)
        child.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await call(channel, "Unary", b"hello")
        assert await last == b"sleep:1"
