"""Dynamic batching: requests that arrive while the network is busy share its next pass."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from shared.errors import Overloaded, Unavailable
from shared.serving.background import Background

Item = TypeVar("Item")
Result = TypeVar("Result")

_RETRY_AFTER_S = 0.5


class BatchObserver(Protocol):
    """Records batches."""

    def batch_started(self, *, size: int, longest_wait_s: float, queued: int) -> None:
        """A batch of `size` items has left the queue, `queued` stay behind."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    result: asyncio.Future[Result]
    since: float


class Batcher(Generic[Item, Result]):
    """Feeds one function, which takes a batch, from many callers who bring a few items each.

    One batch runs at a time, in a thread of its own. While it runs the next one gathers, so
    under load no time is spent waiting; an idle network waits `max_wait_s` at most for
    company. A caller that is cancelled (its deadline has passed, say) is dropped before the
    network sees its items.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        max_batch: int,
        max_wait_s: float,
        max_queue: int,
        observer: BatchObserver,
        background: Background,
    ) -> None:
        """Prepare; the work begins with `start`.

        Args:
            run: called in a thread with 1 to `max_batch` items; as many results, in order.
            max_batch: items a batch.
            max_wait_s: how long the first item of a batch waits for others, in seconds.
            max_queue: items that may wait; more are refused.
            observer: records every batch.
            background: runs the work.
        """
        self._run = run
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._max_queue = max_queue
        self._observer = observer
        self._background = background
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._changed = asyncio.Event()
        self._closed = False
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve; call it on the event loop."""
        self._worker = self._background.keep("batcher", self._serve)

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """The results for some items, computed together with whatever else is waiting.

        They are taken all or none, and need not share a batch.

        Raises:
            Overloaded: INFERENCE_QUEUE_FULL; more than `max_queue` items would wait.
            Unavailable: SHUTTING_DOWN; the batcher is closed.
        """
        self._check_room(len(items))
        loop, now = asyncio.get_running_loop(), time.monotonic()
        mine: list[_Waiting[Item, Result]] = [
            _Waiting(item, loop.create_future(), now) for item in items
        ]
        self._queue.extend(mine)
        self._changed.set()
        return await asyncio.gather(*(waiting.result for waiting in mine))

    async def close(self) -> None:
        """Refuse new items and those that wait; finish the batch in hand and stop the thread."""
        self._closed = True
        _fail(list(self._queue), _shutting_down())
        self._queue.clear()
        self._changed.set()
        if self._worker is not None:
            await self._worker
        self._executor.shutdown()

    def _check_room(self, more: int) -> None:
        if self._closed:
            raise _shutting_down()
        if len(self._queue) + more > self._max_queue:
            raise Overloaded(
                "INFERENCE_QUEUE_FULL",
                f"{len(self._queue)} maps wait for inference and {more} more came; "
                f"at most {self._max_queue} may wait",
                retry_after_s=_RETRY_AFTER_S,
            )

    async def _serve(self) -> None:
        while not self._closed:
            batch = await self._gather()
            if batch:
                await self._process(batch)

    async def _gather(self) -> list[_Waiting[Item, Result]]:
        """Wait for a first item, then for company; nothing if all were given up meanwhile."""
        if not self._queue:
            await self._change(None)
        closes = self._queue[0].since + self._max_wait_s if self._queue else 0
        while len(self._queue) < self._max_batch and not self._closed:
            left = closes - time.monotonic()
            if left <= 0 or not await self._change(left):
                break
        batch: list[_Waiting[Item, Result]] = []
        while self._queue and len(batch) < self._max_batch:
            waiting = self._queue.popleft()
            if not waiting.result.done():  # else its caller has gone
                batch.append(waiting)
        return batch

    async def _change(self, timeout_s: float | None) -> bool:
        """Wait for new items or the end; whether there was a change in time."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def _process(self, batch: list[_Waiting[Item, Result]]) -> None:
        items = [waiting.item for waiting in batch]
        loop = asyncio.get_running_loop()
        try:
            self._observer.batch_started(
                size=len(batch),
                longest_wait_s=time.monotonic() - batch[0].since,
                queued=len(self._queue),
            )
            results = await loop.run_in_executor(self._executor, self._run, items)
            for waiting, result in zip(batch, results, strict=True):
                if not waiting.result.done():
                    waiting.result.set_result(result)
        except Exception as error:  # noqa: BLE001 - it belongs to the callers, not to the worker
            _fail(batch, error)
        except asyncio.CancelledError:
            _fail(batch, _shutting_down())  # else they would wait for ever
            raise


def _fail(batch: list[_Waiting[Item, Result]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.result.done():
            waiting.result.set_exception(error)


def _shutting_down() -> Unavailable:
    return Unavailable("SHUTTING_DOWN", "the service is shutting down")
