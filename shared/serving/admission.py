"""Refuses calls beyond a cap, before they cost anything, so that one client leaves room for others."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from shared.errors import Overloaded
from shared.serving.authorization import client_of
from shared.serving.interceptor import AroundInterceptor, Context, Method

RETRY_REQUEST_S = 0.5
RETRY_STREAM_S = 5.0  # a stream's place is freed when a camera leaves, not when a request ends

_SHARE = 4
_ALL_IN_ALL = ""


class Places:
    """Room for so many calls at once, of which nobody gets all.

    A client may hold up to four times what is free. So one that is alone gets four fifths, two
    that want everything get four ninths each, and there is room left for who comes next, without
    anything set aside for clients that are not there (the dynamic thresholds by which switches
    share a buffer: Choudhury and Hahne, 1998).

    On one event loop it needs no lock.

    Args:
        cap: calls at once.
        what: they are, for the error: "requests".
        retry_after_s: what those are told who are refused, in seconds.
    """

    def __init__(self, cap: int, *, what: str, retry_after_s: float) -> None:
        self._cap = cap
        self._what = what
        self._retry_after_s = retry_after_s
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Places that are not free."""
        return self._taken[_ALL_IN_ALL]

    def take(self, client: Sequence[str]) -> None:
        """Take a place.

        Args:
            client: what it is known by, and what contains that: its address contains its
                connection, say, and may hold four times as much of what is free.

        Raises:
            Overloaded: TOO_MANY_..., none is free, or none for this client.
        """
        if self.taken >= self._cap:
            raise self._refusal(f"{self.taken} {self._what} are in flight; at most {self._cap}")
        share = self._cap - self.taken
        for name in client:
            share *= _SHARE
            if self._taken[name] >= share:
                raise self._refusal(
                    f"{self._taken[name]} {self._what} of this client and {self.taken} of "
                    f"{self._cap} in all are in flight; at most {share} of one client"
                )
        self._taken.update((_ALL_IN_ALL, *client))

    def free(self, client: Sequence[str]) -> None:
        """Give the place back."""
        for name in (_ALL_IN_ALL, *client):
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]

    def _refusal(self, message: str) -> Overloaded:
        return Overloaded(
            f"TOO_MANY_{self._what.upper().replace(' ', '_')}",
            f"{message} are accepted",
            retry_after_s=self._retry_after_s,
        )


class AdmissionInterceptor(AroundInterceptor):
    """Caps unary calls and streams apart, so that cameras cannot starve identification.

    Args:
        max_in_flight: unary calls at once.
        max_streams: streams at once, of any kind.
        exempt: full names of services that answer whatever the load, as health must. They have
            `max_streams` places of their own, since a watch of health lasts as long as one likes.
    """

    def __init__(self, *, max_in_flight: int, max_streams: int, exempt: Collection[str]) -> None:
        self._requests = Places(max_in_flight, what="requests", retry_after_s=RETRY_REQUEST_S)
        self._streams = Places(max_streams, what="streams", retry_after_s=RETRY_STREAM_S)
        self._of_exempt = Places(max_streams, what="calls", retry_after_s=RETRY_STREAM_S)
        self._exempt = frozenset(exempt)

    @asynccontextmanager
    async def around(self, method: Method, context: Context) -> AsyncIterator[None]:
        """Hold a place during the call.

        Raises:
            Overloaded: no place is free.
        """
        async with _held(self._places(method), context):
            yield

    @property
    def idle(self) -> bool:
        """Whether no admitted call is running."""
        return not (self._requests.taken or self._streams.taken)

    def _places(self, method: Method) -> Places:
        if method.service in self._exempt:
            return self._of_exempt
        return self._streams if method.streams else self._requests


class ReceptionInterceptor(AroundInterceptor):
    """Caps the calls whose requests are on their way: headers alone cost a client nothing.

    Args:
        max_receiving: such calls at once, and as many again of the services that always answer.
        exempt: their full names.
    """

    def __init__(self, *, max_receiving: int, exempt: Collection[str]) -> None:
        what = "incomplete requests"
        self._places = Places(max_receiving, what=what, retry_after_s=RETRY_REQUEST_S)
        self._of_exempt = Places(max_receiving, what=what, retry_after_s=RETRY_REQUEST_S)
        self._exempt = frozenset(exempt)

    @asynccontextmanager
    async def around(self, method: Method, context: Context) -> AsyncIterator[None]:
        """Hold a place until the request is there.

        Raises:
            Overloaded: no place is free.
        """
        places = self._of_exempt if method.service in self._exempt else self._places
        async with _held(places, context):
            yield


@asynccontextmanager
async def _held(places: Places, context: Context) -> AsyncIterator[None]:
    client = client_of(context)
    places.take(client)
    try:
        yield
    finally:
        places.free(client)
