"""What the clients of both services share: the channel, deadlines, limits, errors with a reason."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from compactface.client.channel import KEEPALIVE_S, Tls, open_channel
from compactface.client.errors import Peer, RequestFailed
from compactface.client.request_ids import call_metadata

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

_ALWAYS_ACCEPTED_BYTES = 1 << 20  # no service can be set to less


class Client:
    """A blocking client over one channel; threads may share it.

    The channel connects when it is first used, and again whenever the connection is lost.
    Close it, or use the client as a context manager.
    """

    _service_name: ClassVar[str]  # "encoder" or "recognizer", for errors

    def __init__(
        self,
        target: str,
        *,
        tls: Tls | None = None,
        timeout_s: float = 10.0,
        proxy: str = "",
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            target: "host:port" of the service.
            tls: certificates; None: plain text.
            timeout_s: deadline of each call in seconds. Streams have none.
            proxy: URL of an HTTP proxy to go through; "": none, whatever the environment says.
            keepalive_s: silence before a ping, in seconds. The services accept a ping every
                20 s unless they are set to less.

        Raises:
            OSError: a certificate cannot be read.
        """
        self._peer = Peer(self._service_name, target, tls, proxy)
        self._channel = open_channel(target, tls=tls, proxy=proxy, keepalive_s=keepalive_s)
        self._timeout_s = timeout_s
        self._limits: Any = None

    def close(self) -> None:
        """Give up the connection; calls in flight are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        """Nothing to prepare: the channel connects by itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _info(self) -> Any:
        """The service's limits, among them `max_message_bytes`; asked of it."""
        raise NotImplementedError

    def _call(
        self, method: Any, request: Message, answer: type[Response], *, more_s: float = 0
    ) -> Response:
        if refusal := self._refusal(request):
            raise refusal
        timeout_s = self._timeout_s + more_s
        try:
            response = method(request, timeout=timeout_s, metadata=call_metadata())
        except grpc.RpcError as error:
            raise RequestFailed.from_call(error, self._peer) from None
        assert isinstance(response, answer)  # the generated stubs have no types
        return response

    def _stream(
        self, method: Any, request: Message | Iterator[Message], answer: type[Response]
    ) -> Iterator[Response]:
        call = method(request, metadata=call_metadata())
        try:
            for response in call:
                assert isinstance(response, answer)
                yield response
        except grpc.RpcError as error:
            raise RequestFailed.from_call(error, self._peer) from None
        finally:
            call.cancel()

    def _stream_each(
        self,
        method: Any,
        requests: Iterable[Request],
        answer: type[Response],
        *,
        stand_in: Callable[[Request], Request],
    ) -> Iterator[Response]:
        """One answer for each request; what is too large fails alone, and is not sent.

        Args:
            method: of the stub.
            requests: read in another thread.
            answer: the type of the answers, which have a field `error`.
            stand_in: gives what to send in place of a request that is too large, so that every
                answer keeps its turn: small, and refused by the service.
        """
        refused: dict[int, status_pb2.Status] = {}

        def sent() -> Iterator[Request]:
            for position, request in enumerate(requests):
                if refusal := self._refusal(request):
                    refused[position] = refusal.to_status()
                    yield stand_in(request)
                else:
                    yield request

        with closing(self._stream(method, sent(), answer)) as answers:  # type: ignore[type-var]
            for position, response in enumerate(answers):
                if position in refused:
                    response.error.CopyFrom(refused.pop(position))  # type: ignore[attr-defined]
                yield response

    def _refusal(self, request: Message) -> RequestFailed | None:
        """Why the service would not take a request; None: it may, or its limits are not known.

        gRPC itself would end the call, with all other items of a stream, and say no reason.
        """
        size = request.ByteSize()
        if size <= _ALWAYS_ACCEPTED_BYTES:
            return None
        if self._limits is None:
            try:
                self._limits = self._info()
            except RequestFailed:
                return None  # the call itself will tell
        return self._refusal_by(self._limits, request, size)

    def _refusal_by(self, limits: Any, request: Message, size: int) -> RequestFailed | None:  # noqa: ARG002
        limit = limits.max_message_bytes
        if not 0 < limit < size:  # 0: a service from before this field
            return None
        return RequestFailed(
            "RESOURCE_EXHAUSTED",
            "MESSAGE_TOO_LARGE",
            f"the request is {size} bytes; the service accepts at most {limit}",
            metadata={"size_bytes": str(size), "max_message_bytes": str(limit)},
        )
