"""Asyncio transport: calls over one channel that tasks share."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from compactface.client.call import (
    ALWAYS_ACCEPTED_BYTES,
    Call,
    CallOfEach,
    Item,
    Request,
    Response,
    Service,
)
from compactface.client.channel import KEEPALIVE_S, Tls, open_async_channel
from compactface.client.errors import Peer, RequestFailed
from compactface.client.request_ids import call_metadata
from compactface.client.stream_status import StreamStatus


class Asyncio:
    """Makes the calls of asyncio clients; `blocking.Blocking` is the blocking counterpart."""

    def __init__(
        self,
        service: Service,
        target: str,
        *,
        tls: Tls | None = None,
        token: str = "",
        timeout_s: float = 10.0,
        proxy: str = "",
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:
        self.channel = open_async_channel(target, tls=tls, proxy=proxy, keepalive_s=keepalive_s)
        self._service = service
        self._peer = Peer(service.name, target, tls, proxy)
        self.timeout_s = timeout_s
        self.token = token
        self._limits: list[Any] = []  # at most one; shared with copies of this

    async def unary(self, call: Call[Response]) -> Response:
        """Make a unary call."""
        if refusal := await self._refusal(call.request):
            raise refusal
        return await self._send(call)

    async def upload(
        self,
        method: Callable[..., Any],
        items: Iterable[Item] | AsyncIterable[Item],
        requests: Callable[[Item], Iterable[Message]],
        answer: type[Response],
    ) -> Response:
        """Stream the requests of all items and return the single response. No deadline."""
        sending = _Sending(request async for item in _async(items) for request in requests(item))
        uploading = method(sending, metadata=call_metadata(self.token))
        status = StreamStatus(uploading)
        try:
            response = await uploading
        except (grpc.RpcError, asyncio.CancelledError) as error:
            raise sending.error or self._failure(error, status) from None
        assert isinstance(response, answer)
        return response

    async def download(
        self, call: Call[Response], part: Callable[[Response], Item]
    ) -> AsyncIterator[Item]:
        """Send one request and yield a part of each response. No deadline."""
        responses = call.method(call.request, metadata=call_metadata(self.token))
        try:
            async for response in responses:
                assert isinstance(response, call.answer)
                yield part(response)
        except grpc.RpcError as error:
            raise self._failure(error) from None
        finally:
            responses.cancel()

    async def each(
        self,
        call: CallOfEach[Item, Request, Response],
        items: Iterable[Item] | AsyncIterable[Item],
    ) -> AsyncIterator[Response]:
        """Yield one response per item. No deadline.

        Items that are too large are not sent; their responses have an error.

        Args:
            call: describes the request and response.
            items: read in another task, slightly ahead of the responses.
        """
        refused: dict[int, status_pb2.Status] = {}

        async def requests() -> AsyncIterator[Request]:
            position = 0
            async for item in _async(items):
                request = call.request(item)
                if refusal := await self._refusal(request):
                    refused[position] = refusal.to_status()
                    request = call.stand_in(request)
                yield request
                position += 1

        sending = _Sending(requests())
        responses = call.method(sending, metadata=call_metadata(self.token))
        status = StreamStatus(responses)
        position = 0
        try:
            async for response in responses:
                assert isinstance(response, call.answer)
                if position in refused:
                    response.error.CopyFrom(refused.pop(position))  # type: ignore[attr-defined]
                yield response
                position += 1
        except (grpc.RpcError, asyncio.CancelledError) as error:
            raise sending.error or self._failure(error, status) from None
        finally:
            responses.cancel()

    async def _send(self, call: Call[Response]) -> Response:
        timeout_s = self.timeout_s + max(0.0, call.more_s)  # the service rejects a negative wait
        try:
            response = await call.method(
                call.request, timeout=timeout_s, metadata=call_metadata(self.token)
            )
        except grpc.RpcError as error:
            raise self._failure(error) from None
        assert isinstance(response, call.answer)
        return response

    async def _refusal(self, request: Message) -> RequestFailed | None:
        """Return the error of a request that exceeds the limits; None: none, or limits unknown."""
        size = request.ByteSize()
        if size <= ALWAYS_ACCEPTED_BYTES:
            return None
        if not self._limits:
            try:
                self._limits[:] = [await self._send(self._service.info(self.channel))]
            except RequestFailed:
                return None  # the call itself will fail
        return self._service.refusal(request, size, self._limits[0])

    def _failure(self, error: BaseException, status: StreamStatus | None = None) -> BaseException:
        if isinstance(error, grpc.aio.AioRpcError):
            return RequestFailed.from_call(status.of(error) if status else error, self._peer)
        return error  # the task was cancelled


async def _async(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


class _Sending(AsyncIterator[Message]):
    """Requests to send. gRPC reads them in its own task, which would discard their exceptions.

    Attributes:
        error: exception of the caller's iterator; None: none.
    """

    def __init__(self, requests: AsyncIterable[Message]) -> None:
        self.error: Exception | None = None
        self._requests = aiter(requests)

    async def __anext__(self) -> Message:
        try:
            return await anext(self._requests)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.error = error
            raise
