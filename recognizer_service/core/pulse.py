"""Waiting for something to happen, but not for ever."""

import asyncio


class Pulse:
    """Wakes all who wait when something has happened."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def beat(self) -> None:
        """Wake them."""
        self._next.set()
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Set at the next beat; take it before looking, so that none is missed."""
        return self._next


async def either(*events: asyncio.Event, timeout_s: float) -> None:
    """Wait for one of the events, but no longer than so many seconds."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
