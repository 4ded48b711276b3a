"""Dynamic batching: requests that arrive while the network is busy share its next pass."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from shared.backlog import Backlog, Batch
from shared.demand import current_demand
from shared.errors import Overloaded, Unavailable
from shared.places import Places
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
    client: tuple[str, ...]


class Batcher(Generic[Item, Result]):
    """Feeds one function, which takes a batch, from many callers who bring a few items each.

    One batch runs at a time, in a thread of its own. While it runs the next one gathers, so
    under load no time is spent waiting; an idle network waits `max_wait_s` at most for
    company. A caller that is cancelled is dropped before the network sees its items; callers
    take turns, and whose deadline would pass meanwhile is refused at once (see `Backlog`).
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
            max_queue: items that may wait, four fifths of them of one caller; more are refused.
            observer: records every batch.
            background: runs the work.
        """
        self._run = run
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._room = Places(
            max_queue,
            what="maps",
            doing="wait for inference",
            reason="INFERENCE_QUEUE_FULL",
            retry_after_s=_RETRY_AFTER_S,
        )
        self._observer = observer
        self._background = background
        self._queue: Backlog[_Waiting[Item, Result]] = Backlog(batch=max_batch)
        self._first_came = 0.0
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
            Overloaded: INFERENCE_QUEUE_FULL, more than `max_queue` items would wait;
                DEADLINE_TOO_CLOSE, the results would come too late.
            Unavailable: SHUTTING_DOWN; the batcher is closed.
        """
        if self._closed:
            raise _shutting_down()
        demand = current_demand()
        loop, now = asyncio.get_running_loop(), time.monotonic()
        client = (demand.caller,)
        mine: list[_Waiting[Item, Result]] = [
            _Waiting(item, loop.create_future(), now, client) for item in items
        ]
        self._room.take(client, len(mine))
        try:
            self._queue.add(mine, demand)
        except Overloaded:
            self._room.free(client, len(mine))
            raise
        if len(self._queue) == len(mine):
            self._first_came = now
        self._changed.set()
        return await asyncio.gather(*(waiting.result for waiting in mine))

    def check(self, count: int) -> None:
        """Raise DEADLINE_TOO_CLOSE if `submit` would, before anything is done for the caller."""
        self._queue.check(count, current_demand())

    async def close(self) -> None:
        """Refuse new items and those that wait; finish the batch in hand and stop the thread."""
        self._closed = True
        _fail(self._queue.clear(), _shutting_down())
        self._changed.set()
        if self._worker is not None:
            await self._worker
        self._executor.shutdown()

    async def _serve(self) -> None:
        while not self._closed:
            batch = await self._gather()
            if batch.items:
                await self._process(batch)

    async def _gather(self) -> Batch[_Waiting[Item, Result]]:
        """Wait for a first item, then for company; nothing if all were given up meanwhile."""
        if not self._queue:
            await self._change(None)
        closes = self._first_came + self._max_wait_s if self._queue else 0
        while len(self._queue) < self._max_batch and not self._closed:
            left = closes - time.monotonic()
            if left <= 0 or not await self._change(left):
                break
        batch = self._queue.take(lambda waiting: not waiting.result.done())
        for waiting in batch.taken:
            self._room.free(waiting.client)
        for waiting, refusal in batch.late:
            _fail([waiting], refusal)
        self._first_came = time.monotonic()  # of those left behind; they need not wait for company
        return batch

    async def _change(self, timeout_s: float | None) -> bool:
        """Wait for new items or the end; whether there was a change in time."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def _process(self, batch: Batch[_Waiting[Item, Result]]) -> None:
        items = [waiting.item for waiting in batch.items]
        loop = asyncio.get_running_loop()
        try:
            self._observer.batch_started(
                size=len(items),
                longest_wait_s=time.monotonic() - min(each.since for each in batch.items),
                queued=len(self._queue),
            )
            results = await loop.run_in_executor(self._executor, self._run, items)
            for waiting, result in zip(batch.items, results, strict=True):
                if not waiting.result.done():
                    waiting.result.set_result(result)
        except Exception as error:  # noqa: BLE001 - it belongs to the callers, not to the worker
            _fail(batch.items, error)
        except asyncio.CancelledError:
            _fail(batch.items, _shutting_down())  # else they would wait for ever
            raise
        finally:
            self._queue.finish(batch)


def _fail(batch: list[_Waiting[Item, Result]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.result.done():
            waiting.result.set_exception(error)


def _shutting_down() -> Unavailable:
    return Unavailable("SHUTTING_DOWN", "the service is shutting down")
