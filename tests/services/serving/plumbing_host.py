"""Runs the plumbing service inside a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from prometheus_client import CollectorRegistry

from shared.serving.background import Background
from shared.serving.metrics import MetricsServer
from shared.serving.server import ServiceHost
from tests.services.serving.plumbing_service import NAME, Plumbing, PlumbingSettings, add_to_server


@dataclass(frozen=True, slots=True)
class Running:
    """A service that listens, its parts, and a channel to it."""

    host: ServiceHost
    plumbing: Plumbing
    registry: CollectorRegistry
    channel: grpc.aio.Channel
    port: int


def metrics_server(registry: CollectorRegistry, *, host: str = "127.0.0.1") -> MetricsServer:
    """A metrics server on a free port."""
    return MetricsServer(registry, host=host, port=0, background=Background(registry))


@asynccontextmanager
async def running(**settings: object) -> AsyncIterator[Running]:
    """Listen on a free port; drain at once at the end."""
    registry = CollectorRegistry()
    async with ServiceHost(
        PlumbingSettings(**settings),
        service_names=[NAME],
        registry=registry,
        background=Background(registry),
    ) as host:
        plumbing = Plumbing()
        add_to_server(plumbing, host.server)
        port = await host.listen()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Running(host, plumbing, registry, channel, port)


@asynccontextmanager
async def serving(**settings: object) -> AsyncIterator[Running]:
    """Like `running`, and SERVING until the end."""
    async with running(**settings) as service:
        task = asyncio.create_task(service.host.serve())
        yield service
        service.host.stopping.set()
        await task


async def until(condition: object) -> None:
    """Wait for a condition on the server's side of the same event loop, at most five seconds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.005)
