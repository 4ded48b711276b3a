"""Refuses work beyond a cap, before it costs anything."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from shared.errors import Overloaded
from shared.serving.interceptor import AroundInterceptor, Context, Method

RETRY_REQUEST_S = 0.5
RETRY_STREAM_S = 5.0  # a stream's place is freed when a camera leaves, not when a request ends


class AdmissionInterceptor(AroundInterceptor):
    """Caps unary calls and streams apart, so that cameras cannot starve identification.

    Args:
        max_in_flight: unary calls at once.
        max_streams: streams at once, of any kind.
        exempt: full names of services that always answer: health must not depend on load.
    """

    def __init__(self, *, max_in_flight: int, max_streams: int, exempt: Collection[str]) -> None:
        self._requests = _Places(max_in_flight, what="requests", retry_after_s=RETRY_REQUEST_S)
        self._streams = _Places(max_streams, what="streams", retry_after_s=RETRY_STREAM_S)
        self._exempt = frozenset(exempt)

    @asynccontextmanager
    async def around(self, method: Method, context: Context) -> AsyncIterator[None]:  # noqa: ARG002
        """Hold a place during the call.

        Raises:
            Overloaded: no place is free.
        """
        if method.service in self._exempt:
            yield
            return
        places = self._streams if method.streams else self._requests
        places.take()
        try:
            yield
        finally:
            places.free()

    @property
    def idle(self) -> bool:
        """Whether no admitted call is running."""
        return not (self._requests.taken or self._streams.taken)


class _Places:
    """A counter with a cap; on one event loop it needs no lock."""

    def __init__(self, cap: int, *, what: str, retry_after_s: float) -> None:
        self._cap = cap
        self.taken = 0
        self._what = what
        self._retry_after_s = retry_after_s

    def take(self) -> None:
        if self.taken >= self._cap:
            raise Overloaded(
                f"TOO_MANY_{self._what.upper()}",
                f"{self.taken} {self._what} are in flight; at most {self._cap} are accepted",
                retry_after_s=self._retry_after_s,
            )
        self.taken += 1

    def free(self) -> None:
        self.taken -= 1
