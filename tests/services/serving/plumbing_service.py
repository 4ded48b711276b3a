"""A service of four methods on the shared plumbing; as a program, one process that serves it."""

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc
from prometheus_client import CollectorRegistry
from pydantic_settings import SettingsConfigDict

from shared.errors import InvalidInput, NotFound, Overloaded
from shared.serving.background import Background
from shared.serving.interceptor import remaining_seconds
from shared.serving.logs import configure_logging
from shared.serving.process_settings import Port
from shared.serving.request_id import current_request_id
from shared.serving.server import ServiceHost
from shared.serving.settings import ServiceSettings
from shared.serving.settings_loader import load_settings

NAME = "plumbing.Plumbing"


class PlumbingSettings(ServiceSettings):
    """As small as a service's settings can be."""

    model_config = SettingsConfigDict(env_prefix="COMPACTFACE_PLUMBING_")
    table = "encoder"

    port: Port = 0
    metrics_port: Port = 0


class Plumbing:
    """Each request is a word that says what shall happen; the answer says what did."""

    def __init__(self) -> None:
        self.running = 0
        self.release = asyncio.Event()

    async def unary(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """One request, one answer."""
        return await self._act(request, context)

    async def server_stream(
        self, request: bytes, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        """Two answers."""
        yield b"first"
        yield await self._act(request, context)

    async def client_stream(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> bytes:
        """One answer to all requests."""
        return b" ".join([await self._act(request, context) async for request in requests])

    async def bidi_stream(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        """An answer to each request."""
        async for request in requests:
            yield await self._act(request, context)

    async def _act(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        match request.split(b":"):
            case [b"invalid"]:
                raise InvalidInput(
                    "IMAGE_TOO_LARGE",
                    "image is 9 bytes; at most 4 are accepted",
                    field="image",
                    metadata={"limit": "4"},
                )
            case [b"missing"]:
                raise NotFound("NO_SUCH_SUBJECT", "no subject 'x'", field="subject_id")
            case [b"overloaded"]:
                raise Overloaded("QUEUE_FULL", "the queue is full", retry_after_s=1.5)
            case [b"bug"]:
                name = "Mallory"  # a local variable that must stay out of the log
                raise RuntimeError(f"unexpected {len(name)}")
            case [b"abort"]:
                await context.abort(grpc.StatusCode.DATA_LOSS, "aborted by the handler")
            case [b"wait"]:
                await self._wait()
            case [b"sleep", seconds]:
                await asyncio.sleep(float(seconds))
            case [b"remaining"]:
                return repr(remaining_seconds(context)).encode()
            case [b"request_id"]:
                return (current_request_id() or "").encode()
        return request

    async def _wait(self) -> None:
        self.running += 1
        try:
            await self.release.wait()
        finally:
            self.running -= 1


def add_to_server(servicer: Plumbing, server: grpc.aio.Server) -> None:
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(servicer.unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(servicer.server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(servicer.client_stream),
        "BidiStream": grpc.stream_stream_rpc_method_handler(servicer.bidi_stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))


async def call(channel: grpc.aio.Channel, method: str, request: bytes, **options: object) -> bytes:
    """Call any of the four methods with one request; several answers are joined by a space."""
    path = f"/{NAME}/{method}"
    match method:
        case "Unary":
            return await channel.unary_unary(path)(request, **options)
        case "ServerStream":
            return await _joined(channel.unary_stream(path)(request, **options))
        case "ClientStream":
            return await channel.stream_unary(path)(iter([request]), **options)
        case _:
            return await _joined(channel.stream_stream(path)(iter([request]), **options))


async def _joined(answers: grpc.aio.UnaryStreamCall | grpc.aio.StreamStreamCall) -> bytes:
    try:
        return b" ".join([answer async for answer in answers])
    finally:
        # Cancelling the task that reads is not enough: now and then grpc.aio keeps the call open.
        answers.cancel()


async def main(settings: PlumbingSettings) -> None:
    registry = CollectorRegistry()
    async with ServiceHost(
        settings, service_names=[NAME], registry=registry, background=Background(registry)
    ) as host:
        add_to_server(Plumbing(), host.server)
        await host.listen()
        await host.serve()
        print("flushed", file=sys.stderr)  # noqa: T201 - the parent looks for it


if __name__ == "__main__":
    loaded = load_settings(PlumbingSettings)
    configure_logging(log_format=loaded.log_format, log_level=loaded.log_level)
    asyncio.run(main(loaded))
