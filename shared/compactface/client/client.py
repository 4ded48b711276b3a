"""What the clients of both services share: the channel, deadlines, and errors with a reason."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from compactface.client.channel import Tls, open_channel
from compactface.client.errors import RequestFailed

Response = TypeVar("Response", bound=Message)


class Client:
    """A blocking client over one channel; threads may share it.

    The channel connects when it is first used, and again whenever the connection is lost.
    Close it, or use the client as a context manager.
    """

    def __init__(self, target: str, *, tls: Tls | None = None, timeout_s: float = 10.0) -> None:
        """Prepare; nothing is sent yet.

        Args:
            target: "host:port" of the service.
            tls: certificates; None: plain text.
            timeout_s: deadline of each call in seconds. Streams have none.

        Raises:
            OSError: a certificate cannot be read.
        """
        self._channel = open_channel(target, tls=tls)
        self._timeout_s = timeout_s

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

    def _call(
        self, method: Any, request: Message, answer: type[Response], *, more_s: float = 0
    ) -> Response:
        try:
            response = method(request, timeout=self._timeout_s + more_s)
        except grpc.RpcError as error:
            raise RequestFailed.from_call(error) from None
        assert isinstance(response, answer)  # the generated stubs have no types
        return response

    def _stream(
        self, method: Any, request: Message | Iterator[Message], answer: type[Response]
    ) -> Iterator[Response]:
        call = method(request)
        try:
            for response in call:
                assert isinstance(response, answer)
                yield response
        except grpc.RpcError as error:
            raise RequestFailed.from_call(error) from None
        finally:
            call.cancel()
