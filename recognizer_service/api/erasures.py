"""Waits for the bytes of a deletion to be erased from disk."""

import asyncio

from recognizer_service.core.recognizer import Recognizer

_ASK_EVERY_S = 0.05


async def erased(
    recognizer: Recognizer, erasure: int, wait_s: float, stopping: asyncio.Event
) -> bool:
    """Wait for an erasure; return whether it finished in time.

    Polls, so that no thread of the gallery is blocked.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while erasure and loop.time() < deadline and not stopping.is_set():
        if await recognizer.in_thread(recognizer.gallery.database.erased, erasure):
            return True
        await asyncio.sleep(_ASK_EVERY_S)
    return False
