"""Calls of asyncio, over one channel that tasks share."""

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


class Asyncio:
    """Makes the calls of asynchronous clients; `blocking.Blocking` is its twin."""

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
        self._limits: list[Any] = []  # at most one; copies of this share it

    async def unary(self, call: Call[Response]) -> Response:
        """The answer to one request."""
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
        """The one answer to the requests of all items; without a deadline."""
        sending = _Sending(request async for item in _async(items) for request in requests(item))
        try:
            response = await method(sending, metadata=call_metadata(self.token))
        except (grpc.RpcError, asyncio.CancelledError) as error:
            raise sending.error or self._failure(error) from None
        assert isinstance(response, answer)
        return response

    async def download(
        self, call: Call[Response], part: Callable[[Response], Item]
    ) -> AsyncIterator[Item]:
        """A part of each answer to one request; without a deadline."""
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
        """One answer for each item, without a deadline.

        What is too large fails alone, and is not sent.

        Args:
            call: what to do with the items.
            items: read in another task, a little ahead of the answers.
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
        position = 0
        try:
            async for response in responses:
                assert isinstance(response, call.answer)
                if position in refused:
                    response.error.CopyFrom(refused.pop(position))  # type: ignore[attr-defined]
                yield response
                position += 1
        except (grpc.RpcError, asyncio.CancelledError) as error:
            raise sending.error or self._failure(error) from None
        finally:
            responses.cancel()

    async def _send(self, call: Call[Response]) -> Response:
        timeout_s = self.timeout_s + max(0.0, call.more_s)  # the service refuses a negative wait
        try:
            response = await call.method(
                call.request, timeout=timeout_s, metadata=call_metadata(self.token)
            )
        except grpc.RpcError as error:
            raise self._failure(error) from None
        assert isinstance(response, call.answer)
        return response

    async def _refusal(self, request: Message) -> RequestFailed | None:
        """Why the service would not take a request; None: it may, or its limits are not known."""
        size = request.ByteSize()
        if size <= ALWAYS_ACCEPTED_BYTES:
            return None
        if not self._limits:
            try:
                self._limits[:] = [await self._send(self._service.info(self.channel))]
            except RequestFailed:
                return None  # the call itself will tell
        return self._service.refusal(request, size, self._limits[0])

    def _failure(self, error: BaseException) -> BaseException:
        if isinstance(error, grpc.RpcError):
            return RequestFailed.from_call(error, self._peer)
        return error  # the task was cancelled


async def _async(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


class _Sending(AsyncIterator[Message]):
    """Requests on their way, read in a task of gRPC's, which would swallow an error of theirs.

    Attributes:
        error: what the caller's iterator raised; None: nothing.
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
