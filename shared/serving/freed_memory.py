"""Gives freed memory back to the system.

The C library keeps memory that was freed between blocks still in use: tens of megabytes after a
photograph.
"""

import asyncio
import ctypes

_AFTER_S = 1.0
_PAUSE_S = 4.0  # giving back and taking again costs about 15 ms


class FreedMemory:
    """Gives memory back soon after work, at most every five seconds."""

    def __init__(self) -> None:
        self._used = asyncio.Event()
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's

    def used(self) -> None:
        """Say that work has freed memory; call it on the event loop."""
        self._used.set()

    async def keep_returning(self) -> None:
        """Run until cancelled; returns at once if the C library has no such function."""
        while self._trim is not None:
            await self._used.wait()
            await asyncio.sleep(_AFTER_S)
            self._used.clear()
            await asyncio.to_thread(self._trim, 0)
            await asyncio.sleep(_PAUSE_S)
