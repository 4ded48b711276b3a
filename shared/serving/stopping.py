"""Streams without an end of their own, ended when the service stops."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from shared.errors import Unavailable

Request = TypeVar("Request")


async def until_stopping(
    requests: AsyncIterator[Request], stopping: asyncio.Event
) -> AsyncIterator[Request]:
    """The requests of a stream, up to the moment when the service begins to drain.

    A camera keeps its stream open for weeks; it would hold up every stop until the drain cuts
    it. Ended here, its client learns at once that the rest goes elsewhere.

    Raises:
        Unavailable: SHUTTING_DOWN; what came later was not read.
    """
    while (request := await _next(requests, stopping)) is not None:
        yield request


async def _next(requests: AsyncIterator[Request], stopping: asyncio.Event) -> Request | None:
    request = asyncio.ensure_future(anext(requests, None))
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({request, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not request.done():
            raise Unavailable("SHUTTING_DOWN", "the service is shutting down; connect again")
        return request.result()
    finally:
        request.cancel()
        stop.cancel()
