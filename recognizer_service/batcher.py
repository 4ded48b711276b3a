"""Dynamic batching: requests that arrive while the network is busy share its next pass."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from shared.errors import Overloaded, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchObserver(Protocol):
    """Who wants to know how batching goes."""

    def batch_started(self, *, size: int, longest_wait_s: float, queued: int) -> None:
        """A batch of `size` items has left the queue, `queued` stay behind."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    result: asyncio.Future[Result]
    since: float


class Batcher(Generic[Item, Result]):
    """Feeds one function, which takes a batch, from many callers who bring one item each.

    One batch runs at a time, in a thread of its own. While it runs the next one gathers, so
    under load no time is spent waiting; an idle network waits `max_wait_s` at most for
    company. A caller that is cancelled (its deadline has passed, say) is dropped before the
    network sees its item.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        max_batch: int,
        max_wait_s: float,
        max_queue: int,
        observer: BatchObserver,
    ) -> None:
        """Prepare; the work begins with `start`.

        Args:
            run: called in a thread with 1 to `max_batch` items; as many results, in order.
            max_batch: items a batch.
            max_wait_s: how long the first item of a batch waits for others, in seconds.
            max_queue: items that may wait; more are refused.
            observer: is told of every batch.
        """
        self._run = run
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._max_queue = max_queue
        self._observer = observer
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._arrived = asyncio.Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve; call it on the event loop."""
        self._worker = asyncio.create_task(self._serve())

    async def submit(self, item: Item) -> Result:
        """The result for `item`, computed together with whatever else is waiting.

        Raises:
            Overloaded: `max_queue` items wait already.
            Unavailable: the batcher is closed.
        """
        if self._worker is None:
            raise Unavailable("SHUTTING_DOWN", "the service is shutting down")
        if len(self._queue) >= self._max_queue:
            raise Overloaded(
                "INFERENCE_QUEUE_FULL",
                f"{len(self._queue)} maps wait for inference; at most {self._max_queue} may",
                retry_after_s=0.5,
            )
        future = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(item, future, time.monotonic()))
        self._arrived.set()
        return await future

    async def close(self) -> None:
        """Refuse new items, finish none of those waiting, and stop the thread."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
            self._worker = None
        for waiting in self._queue:
            waiting.result.cancel()
        self._queue.clear()
        self._executor.shutdown(wait=True)

    async def _serve(self) -> None:
        while True:
            batch = await self._gather()
            if batch:
                await self._process(batch)

    async def _gather(self) -> list[_Waiting[Item, Result]]:
        """Wait for a first item, then for company, then take what is still wanted."""
        self._arrived.clear()
        if not self._queue:
            await self._arrived.wait()
        closes = self._queue[0].since + self._max_wait_s
        while len(self._queue) < self._max_batch and (left := closes - time.monotonic()) > 0:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                break
        batch: list[_Waiting[Item, Result]] = []
        while self._queue and len(batch) < self._max_batch:
            waiting = self._queue.popleft()
            if not waiting.result.done():
                batch.append(waiting)
        return batch

    async def _process(self, batch: list[_Waiting[Item, Result]]) -> None:
        self._observer.batch_started(
            size=len(batch),
            longest_wait_s=time.monotonic() - batch[0].since,
            queued=len(self._queue),
        )
        items = [waiting.item for waiting in batch]
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._executor, self._run, items)
        except Exception as error:  # noqa: BLE001 - it belongs to the callers, not to the worker
            for waiting in batch:
                if not waiting.result.done():
                    waiting.result.set_exception(error)
            return
        except asyncio.CancelledError:
            for waiting in batch:
                waiting.result.cancel()
            raise
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.result.done():
                waiting.result.set_result(result)
