"""Work on a stream side by side, with the results in the order of the input."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def map_in_order(
    work: Callable[[Item], Awaitable[Result]], items: AsyncIterable[Item], *, limit: int
) -> AsyncGenerator[Result, None]:
    """The result for each item, in order.

    Nothing more is read while `limit` items are in work or wait for their results to be taken.
    Whatever ends the input is raised after the results of all that came before; whatever `work`
    raises ends it all at once. Close the iterator, and what is still in work is cancelled.

    Args:
        work: called on each item, on the event loop.
        items: the input.
        limit: most items in hand, at least 1.
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
