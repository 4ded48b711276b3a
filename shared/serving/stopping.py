"""End long-lived streams when the service stops."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from shared.errors import Unavailable

Request = TypeVar("Request")


async def until_stopping(
    requests: AsyncIterator[Request], stopping: asyncio.Event
) -> AsyncIterator[Request]:
    """Yield the requests of a stream until the service begins to drain.

    A camera's stream stays open for weeks and would delay every stop until the end of the drain.
    Ending it early tells the client to continue elsewhere.

    Raises:
        Unavailable: SHUTTING_DOWN; later requests were not read.
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
