"""One way to put something around a call, whatever its kind.

gRPC knows four kinds of handler, and grpc.aio two ways to write those that stream responses.
`wrap_handler` brings them all to one shape, a coroutine that writes, so that an interceptor is
a single asynchronous context manager::

    class Stopwatch(AroundInterceptor):
        @asynccontextmanager
        async def around(self, method, context):
            started = time.perf_counter()
            yield  # the call
            print(method.name, time.perf_counter() - started)
"""

import inspect
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import Message

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Around: TypeAlias = Callable[[Context], AbstractAsyncContextManager[None]]
Received: TypeAlias = Callable[..., None]
"""`received(message, first=...)`."""
_Behavior: TypeAlias = Callable[[Any, Context], Awaitable[Any]]

# (request streams, response streams) -> attribute of the handler, grpc_type in metrics
_KINDS: Final = {
    (False, False): ("unary_unary", "unary"),
    (False, True): ("unary_stream", "server_stream"),
    (True, False): ("stream_unary", "client_stream"),
    (True, True): ("stream_stream", "bidi_stream"),
}


@dataclass(frozen=True, slots=True)
class Method:
    """What is being called.

    Attributes:
        service: full name, "compactface.v1.EncoderService".
        name: "Encode".
        kind: "unary", "client_stream", "server_stream" or "bidi_stream".
    """

    service: str
    name: str
    kind: str

    @property
    def streams(self) -> bool:
        """Whether either side sends more than one message."""
        return self.kind != "unary"


class AroundInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in stubs only
    """Runs `around` about every call of every service on the server."""

    @abstractmethod
    def around(self, method: Method, context: Context) -> AbstractAsyncContextManager[None]:
        """Enter before the handler, leave after it; exceptions pass through."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler that the rest of the chain gives; unknown methods stay unknown."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        method = _method(handler_call_details.method, handler)
        received = partial(self.received, method) if isinstance(self, RequestInterceptor) else None
        return wrap_handler(handler, partial(self.around, method), received)


class RequestInterceptor(AroundInterceptor):
    """Also sees the messages of requests. It has to be the innermost: others see bytes."""

    @abstractmethod
    def received(self, method: Method, message: Message, *, first: bool) -> None:
        """Called with each message before the handler gets it; an exception ends the call."""


def wrap_handler(handler: Handler, around: Around, received: Received | None = None) -> Handler:
    """The same handler with `around(context)` entered before it and left after it.

    Generators are driven here to their end, so a cancelled call leaves `around` at once and
    not when the garbage collector finds the generator. Single messages are decoded and encoded
    here too, so a malformed one is an error inside `around` like any other; streams do so
    already, as they read and write.
    """
    kind, _ = _KINDS[handler.request_streaming, handler.response_streaming]
    behavior = _as_coroutine(getattr(handler, kind))
    decode, encode = handler.request_deserializer, handler.response_serializer
    decode_here = None if handler.request_streaming else decode
    encode_here = None if handler.response_streaming else encode

    async def call(request: Any, context: Context) -> Any:
        async with around(context):
            message = decode_here(request) if decode_here else request
            if received and handler.request_streaming:
                message = _seen(message, received)
            elif received:
                received(message, first=True)
            response = await behavior(message, context)
            return encode_here(response) if encode_here else response

    factory: Callable[..., Handler] = getattr(grpc, f"{kind}_rpc_method_handler")
    return factory(
        call,
        decode if handler.request_streaming else None,
        encode if handler.response_streaming else None,
    )


async def _seen(messages: AsyncIterator[Any], received: Received) -> AsyncIterator[Any]:
    first = True
    async for message in messages:
        received(message, first=first)
        first = False
        yield message


def _as_coroutine(behavior: Callable[[Any, Context], Any]) -> _Behavior:
    if not inspect.isasyncgenfunction(behavior):
        return behavior

    async def write_all(request: Any, context: Context) -> None:
        async with aclosing(behavior(request, context)) as responses:
            async for response in responses:
                await context.write(response)

    return write_all


def _method(path: str, handler: Handler) -> Method:
    service, _, name = path.lstrip("/").rpartition("/")
    _, kind = _KINDS[handler.request_streaming, handler.response_streaming]
    return Method(service=service, name=name, kind=kind)


def remaining_seconds(context: Context) -> float | None:
    """Seconds until the client's deadline, at least 0; None where it set none.

    The handler is cancelled when the deadline passes. Work that it handed to an executor is
    cancelled with it while it is queued there; once begun it runs to its end.
    """
    return context.time_remaining()
