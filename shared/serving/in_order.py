"""Process a stream concurrently, with results in the order of the input."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def map_in_order(
    work: Callable[[Item], Awaitable[Result]], items: AsyncIterable[Item], *, limit: int
) -> AsyncGenerator[Result, None]:
    """Apply `work` to each item concurrently and yield the results in input order.

    Reading pauses while `limit` items are in progress or have results that were not consumed yet.
    An exception of the input is raised after the results of all earlier items; an exception of
    `work` ends the iteration immediately. Closing the iterator cancels work in progress.

    Args:
        work: called with each item, on the event loop.
        items: the input.
        limit: maximum number of items in progress, at least 1.
    """
    places = asyncio.Semaphore(limit)
    begun: asyncio.Queue[asyncio.Task[Result] | None] = asyncio.Queue()

    async def read() -> None:
        try:
            await places.acquire()
            async for item in items:
                begun.put_nowait(asyncio.ensure_future(work(item)))
                await places.acquire()
        finally:
            begun.put_nowait(None)

    reader = asyncio.create_task(read())
    try:
        while (task := await begun.get()) is not None:
            yield await task
            places.release()
        await reader
    finally:
        left: list[asyncio.Task[Any]] = [reader]
        while not begun.empty():
            if task := begun.get_nowait():
                left.append(task)
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
