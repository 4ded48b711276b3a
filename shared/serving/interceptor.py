"""One interface for interceptors of all kinds of calls.

gRPC has four kinds of handlers, and grpc.aio has two ways to write those that stream responses.
`CallInterceptor` converts all of them to one form, a coroutine that reads and writes, so that an
interceptor is a single asynchronous context manager::

    class Stopwatch(AroundInterceptor):
        @asynccontextmanager
        async def around(self, method, context):
            started = time.perf_counter()
            yield  # the call
            print(method.name, time.perf_counter() - started)
"""

import asyncio
import inspect
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import Message

from shared.errors import DeadlineExceeded, InvalidInput

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
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
    """The method of a call.

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
        """Whether requests or responses are streamed."""
        return self.kind != "unary"


class AroundInterceptor:
    """Base class of interceptors, which wrap every call of every service on the server."""

    @abstractmethod
    def around(self, method: Method, context: Context) -> AbstractAsyncContextManager[None]:
        """Enter before the handler and exit after it; exceptions pass through."""

    def received(self, method: Method, message: Message, *, first: bool) -> None:
        """Inspect each request message before the handler receives it.

        An exception ends the call.
        """


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in stubs only
    """The only interceptor registered with grpc; it runs the others.

    grpc invokes the handler of a unary call only when its request has arrived. This interceptor
    awaits the request within the call instead, so that calls that have sent only headers are also
    authenticated, counted and limited.

    Args:
        calls: entered when the headers have arrived, the first outermost.
        receiving: entered while the request of a unary call is being received.
        requests: entered when the request has arrived, within `calls`; for streams, right after
            them.
        receive_s: timeout for receiving the request of a unary call, in seconds.
    """

    def __init__(
        self,
        *,
        calls: Sequence[AroundInterceptor],
        receiving: AroundInterceptor,
        requests: Sequence[AroundInterceptor],
        receive_s: float,
    ) -> None:
        self._calls = calls
        self._receiving = receiving
        self._requests = requests
        self._receive_s = receive_s
        self._wrappers: dict[str, Handler] = {}
        """By path; only of known methods."""
        every = (*calls, *requests)
        self._readers = [
            each for each in every if type(each).received is not AroundInterceptor.received
        ]

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler; unknown methods stay unknown."""
        path = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        if path not in self._wrappers:
            self._wrappers[path] = self._wrapped(handler, _method(path, handler))
        return self._wrappers[path]

    def _wrapped(self, handler: Handler, method: Method) -> Handler:
        """Return an equivalent handler whose requests always stream.

        Generators run to their end here, so that a cancelled call exits all context managers
        immediately rather than at garbage collection. Single messages are also decoded and encoded
        here, so that a malformed one is an error within the call, as it already is for streams.
        """
        kind, _ = _KINDS[handler.request_streaming, handler.response_streaming]
        behavior = _as_coroutine(getattr(handler, kind))
        encode = None if handler.response_streaming else handler.response_serializer

        async def call(messages: AsyncIterator[Any], context: Context) -> Any:
            async with AsyncExitStack() as stack:
                for each in self._calls:
                    await stack.enter_async_context(each.around(method, context))
                request: Any = messages
                if not handler.request_streaming:
                    async with self._receiving.around(method, context):
                        request = await self._receive(messages)
                for each in self._requests:
                    await stack.enter_async_context(each.around(method, context))
                if handler.request_streaming:
                    request = self._seen(method, messages)
                else:
                    if handler.request_deserializer:
                        request = handler.request_deserializer(request)
                    self._show(method, request, first=True)
                response = await behavior(request, context)
                return encode(response) if encode else response

        factory: Callable[..., Handler] = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return factory(
            call,
            handler.request_deserializer if handler.request_streaming else None,
            handler.response_serializer if handler.response_streaming else None,
        )

    async def _receive(self, messages: AsyncIterator[Any]) -> Any:
        try:
            async with asyncio.timeout(self._receive_s):
                return await anext(messages)
        except TimeoutError:
            raise DeadlineExceeded(
                "REQUEST_NOT_RECEIVED",
                f"the request did not arrive within {self._receive_s:g} s of its headers",
            ) from None
        except StopAsyncIteration:
            raise InvalidInput("NO_REQUEST", "the call ended without a request") from None

    def _show(self, method: Method, message: Any, *, first: bool) -> None:
        for reader in self._readers:
            reader.received(method, message, first=first)

    async def _seen(self, method: Method, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        first = True
        async for message in messages:
            self._show(method, message, first=first)
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
    """Seconds until the client's deadline, at least 0; None if it set none.

    The handler is cancelled when the deadline passes. Work it submitted to an executor is cancelled
    while queued; once started, it runs to completion.
    """
    return context.time_remaining()
