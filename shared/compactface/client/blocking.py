"""Blocking transport: calls over one channel that threads can share."""

from collections.abc import Callable, Iterable, Iterator
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
from compactface.client.channel import KEEPALIVE_S, Tls, open_channel
from compactface.client.errors import Peer, RequestFailed
from compactface.client.request_ids import call_metadata


class Blocking:
    """Makes the calls of blocking clients; `asynchronous.Asyncio` is the asyncio counterpart."""

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
        self.channel = open_channel(target, tls=tls, proxy=proxy, keepalive_s=keepalive_s)
        self._service = service
        self._peer = Peer(service.name, target, tls, proxy)
        self.timeout_s = timeout_s
        self.token = token
        self._limits: list[Any] = []  # at most one; shared with copies of this

    def unary(self, call: Call[Response]) -> Response:
        """Make a unary call."""
        if refusal := self._refusal(call.request):
            raise refusal
        return self._send(call)

    def upload(
        self,
        method: Callable[..., Any],
        items: Iterable[Item],
        requests: Callable[[Item], Iterable[Message]],
        answer: type[Response],
    ) -> Response:
        """Stream the requests of all items and return the single response. No deadline."""
        sending = _Sending(request for item in items for request in requests(item))
        try:
            response = method(sending, metadata=call_metadata(self.token))
        except grpc.RpcError as error:
            raise sending.error or RequestFailed.from_call(error, self._peer) from None
        assert isinstance(response, answer)
        return response

    def download(self, call: Call[Response], part: Callable[[Response], Item]) -> Iterator[Item]:
        """Send one request and yield a part of each response. No deadline."""
        responses = call.method(call.request, metadata=call_metadata(self.token))
        try:
            for response in responses:
                assert isinstance(response, call.answer)
                yield part(response)
        except grpc.RpcError as error:
            raise RequestFailed.from_call(error, self._peer) from None
        finally:
            responses.cancel()

    def each(
        self, call: CallOfEach[Item, Request, Response], items: Iterable[Item]
    ) -> Iterator[Response]:
        """Yield one response per item. No deadline.

        Items that are too large are not sent; their responses have an error.

        Args:
            call: describes the request and response.
            items: read in another thread, slightly ahead of the responses.
        """
        refused: dict[int, status_pb2.Status] = {}

        def requests() -> Iterator[Request]:
            for position, item in enumerate(items):
                request = call.request(item)
                if refusal := self._refusal(request):
                    refused[position] = refusal.to_status()
                    request = call.stand_in(request)
                yield request

        sending = _Sending(requests())
        responses = call.method(sending, metadata=call_metadata(self.token))
        try:
            for position, response in enumerate(responses):
                assert isinstance(response, call.answer)
                if position in refused:
                    response.error.CopyFrom(refused.pop(position))  # type: ignore[attr-defined]
                yield response
        except grpc.RpcError as error:
            raise sending.error or RequestFailed.from_call(error, self._peer) from None
        finally:
            responses.cancel()

    def _send(self, call: Call[Response]) -> Response:
        timeout_s = self.timeout_s + max(0.0, call.more_s)  # the service rejects a negative wait
        try:
            response = call.method(
                call.request, timeout=timeout_s, metadata=call_metadata(self.token)
            )
        except grpc.RpcError as error:
            raise RequestFailed.from_call(error, self._peer) from None
        assert isinstance(response, call.answer)
        return response

    def _refusal(self, request: Message) -> RequestFailed | None:
        """Return the error of a request that exceeds the limits; None: none, or limits unknown."""
        size = request.ByteSize()
        if size <= ALWAYS_ACCEPTED_BYTES:
            return None
        if not self._limits:
            try:
                self._limits[:] = [self._send(self._service.info(self.channel))]
            except RequestFailed:
                return None  # the call itself will fail
        return self._service.refusal(request, size, self._limits[0])


class _Sending(Iterator[Message]):
    """Requests to send. gRPC reads them in its own thread, which would discard their exceptions.

    Attributes:
        error: exception of the caller's iterator; None: none.
    """

    def __init__(self, requests: Iterable[Message]) -> None:
        self.error: Exception | None = None
        self._requests = iter(requests)

    def __next__(self) -> Message:
        try:
            return next(self._requests)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise
