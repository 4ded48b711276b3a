"""The status of a stream that ends while requests are still being sent."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc

T = TypeVar("T")


class StreamStatus:
    """Keeps the first status of a call.

    If a request cannot be sent because the server has ended the call, gRPC's asyncio client sets
    the status INTERNAL, before or after the one that the server sent
    (https://github.com/grpc/grpc/issues/36066).
    """

    def __init__(self, call: Any) -> None:
        self._error: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._keep)

    def of(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """The server's error, given the one that the call raised."""
        if error.code() is grpc.StatusCode.INTERNAL and self._error is not None:
            return self._error
        return error

    def _keep(self, call: Any) -> None:
        code = _at_once(call.code())
        if code is not grpc.StatusCode.OK:
            self._error = grpc.aio.AioRpcError(
                code,
                grpc.aio.Metadata(),
                _at_once(call.trailing_metadata()),
                _at_once(call.details()),
                _at_once(call.debug_error_string()),
            )


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that does not wait, as those of a call that has ended."""
    try:
        coroutine.send(None)
    except StopIteration as result:
        value: T = result.value
        return value
    coroutine.close()
    raise AssertionError("the call has not ended")
