"""Runs the real services inside a test, and tells how their calls fail."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import httpx
import pytest
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from compactface.client import RequestFailed
from compactface.v1 import alerts_pb2_grpc, encoder_pb2_grpc, gallery_pb2_grpc, recognizer_pb2_grpc
from encoder_service import server as encoder_server
from encoder_service.settings import EncoderSettings
from recognizer_service import server as recognizer_server
from recognizer_service.settings import RecognizerSettings
from shared.serving.server import ServiceHost
from web_gateway import server as web_server
from web_gateway.settings import WebSettings

LOCAL = {"port": 0, "metrics_port": 0, "drain_seconds": 0}
_SMALL = {"gallery_reserve": False}  # there are hundreds of galleries


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is SERVING, and a channel to it."""

    host: ServiceHost
    channel: grpc.aio.Channel
    registry: CollectorRegistry

    @property
    def address(self) -> str:
        """Where other processes find it."""
        return f"127.0.0.1:{self.host.port}"

    @property
    def encoder(self) -> Any:
        """Stub of EncoderService."""
        return encoder_pb2_grpc.EncoderServiceStub(self.channel)

    @property
    def recognizer(self) -> Any:
        """Stub of RecognizerService."""
        return recognizer_pb2_grpc.RecognizerServiceStub(self.channel)

    @property
    def gallery(self) -> Any:
        """Stub of GalleryService."""
        return gallery_pb2_grpc.GalleryServiceStub(self.channel)

    @property
    def alerts(self) -> Any:
        """Stub of AlertService."""
        return alerts_pb2_grpc.AlertServiceStub(self.channel)

    def sample(self, name: str, **labels: str) -> float:
        """The present value of a metric, 0 before it is first touched."""
        return self.registry.get_sample_value(name, labels) or 0


@asynccontextmanager
async def running_encoder(models: Path, **settings: object) -> AsyncIterator[Service]:
    """An encoder on a free port; unless the test names one, its spool goes with it."""
    with TemporaryDirectory() as spool:
        given = {**LOCAL, "uplink_spool": Path(spool) / "spool", **settings}
        service = _running(encoder_server.listening, EncoderSettings(models=models, **given))
        async with service as running:
            yield running


def running_recognizer(
    models: Path, gallery: Path | str, **settings: object
) -> AbstractAsyncContextManager[Service]:
    """A recognizer on a free port."""
    return _running(
        recognizer_server.listening,
        RecognizerSettings(models=models, gallery=gallery, **{**_SMALL, **LOCAL, **settings}),
    )


@asynccontextmanager
async def _running(
    listening: Callable[..., AbstractAsyncContextManager[ServiceHost]], settings: Any
) -> AsyncIterator[Service]:
    registry = CollectorRegistry()
    async with listening(settings, registry) as host:
        serving = asyncio.create_task(host.serve())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{host.port}") as channel:
            yield Service(host, channel, registry)
            host.stopping.set()
            await serving


async def failure(call: Awaitable[object]) -> RequestFailed:
    """What a call that must fail ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert rpc_status.from_call(caught.value) is not None, caught.value
    return RequestFailed.from_call(caught.value)


def fields_of(error: RequestFailed) -> list[str]:
    return [violation.field for violation in error.field_violations]


async def until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    """Wait for something that another task or process does."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def close_to(value: float) -> object:
    """Similarities are rounded to 0.001 and travel as float32."""
    assert math.isfinite(value)
    return pytest.approx(value, abs=1.1e-3)


@asynccontextmanager
async def running_web(
    encoder: Service, recognizer: Service, **settings: object
) -> AsyncIterator[httpx.AsyncClient]:
    """A web gateway on a free port before two services, and a client of it."""
    given = {
        "encoder_target": encoder.address,
        "recognizer_target": recognizer.address,
        **LOCAL,
        **settings,
    }
    async with web_server.listening(WebSettings.model_validate(given), CollectorRegistry()) as host:
        serving = asyncio.create_task(host.serve())
        address = f"http://127.0.0.1:{host.port}"
        try:
            async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False) as client:
                yield client
        finally:
            host.stopping.set()
            await serving
