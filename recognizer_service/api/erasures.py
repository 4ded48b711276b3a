"""Waiting for the bytes of a deletion to leave the disk."""

import asyncio

from recognizer_service.core.recognizer import Recognizer

_ASK_EVERY_S = 0.05


async def erased(
    recognizer: Recognizer, erasure: int, wait_s: float, stopping: asyncio.Event
) -> bool:
    """Whether an erasure is done within so many seconds.

    Asks now and then, for no thread of the gallery's is to wait.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while erasure and loop.time() < deadline and not stopping.is_set():
        if await recognizer.in_thread(recognizer.gallery.erased, erasure):
            return True
        await asyncio.sleep(_ASK_EVERY_S)
    return False
