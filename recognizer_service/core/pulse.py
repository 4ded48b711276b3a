"""Waiting for an event, with a timeout."""

import asyncio


class Pulse:
    """Wakes all waiters when something has happened."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def beat(self) -> None:
        """Wake all waiters."""
        self._next.set()
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Return an event set at the next beat; get it before checking state, to miss none."""
        return self._next


async def either(*events: asyncio.Event, timeout_s: float) -> None:
    """Wait for one of the events, for at most `timeout_s`."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
