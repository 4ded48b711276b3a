"""Admission control: rejects calls above a limit before they use resources, fairly per client."""

import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from shared.demand import Demand, demanding
from shared.places import Places
from shared.serving.authorization import client_of, is_trusted
from shared.serving.interceptor import AroundInterceptor, Context, Method, remaining_seconds

RETRY_REQUEST_S = 0.5
RETRY_STREAM_S = 5.0  # a stream's slot is freed when a camera disconnects, not when a request ends
_RESERVE = 0.1
"""Share of the deadline reserved for thread scheduling and the response's transfer."""


class AdmissionInterceptor(AroundInterceptor):
    """Limits unary calls and streams separately, so that cameras cannot starve identification.

    Args:
        max_in_flight: maximum number of concurrent unary calls.
        max_streams: maximum number of concurrent streams of any kind.
        exempt: full names of services with `max_streams` slots of their own, such as health, whose
            watches can last indefinitely.
    """

    def __init__(self, *, max_in_flight: int, max_streams: int, exempt: Collection[str]) -> None:
        self._requests = Places(max_in_flight, what="requests", retry_after_s=RETRY_REQUEST_S)
        self._streams = Places(max_streams, what="streams", retry_after_s=RETRY_STREAM_S)
        self._of_exempt = Places(max_streams, what="calls", retry_after_s=RETRY_STREAM_S)
        self._exempt = frozenset(exempt)

    @asynccontextmanager
    async def around(self, method: Method, context: Context) -> AsyncIterator[None]:
        """Hold a slot during the call and set its demand.

        Raises:
            Overloaded: no slot is free.
        """
        async with _held(self._places(method), context):
            with demanding(_demand_of(context)):
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
    """Limits calls whose request has not arrived yet: headers alone cost a client nothing.

    Args:
        max_receiving: maximum number of such calls, and separately of calls to exempt services.
        exempt: full names of the exempt services.
    """

    def __init__(self, *, max_receiving: int, exempt: Collection[str]) -> None:
        what = "incomplete requests"
        self._places = Places(max_receiving, what=what, retry_after_s=RETRY_REQUEST_S)
        self._of_exempt = Places(max_receiving, what=what, retry_after_s=RETRY_REQUEST_S)
        self._exempt = frozenset(exempt)

    @asynccontextmanager
    async def around(self, method: Method, context: Context) -> AsyncIterator[None]:
        """Hold a slot until the request has arrived.

        Raises:
            Overloaded: no slot is free.
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


def _demand_of(context: Context) -> Demand:
    left = remaining_seconds(context)
    deadline = None if left is None else time.monotonic() + (1 - _RESERVE) * left
    return Demand(client_of(context)[0], deadline, trusted=is_trusted())
