"""Dynamic batching: requests that arrive while the network is busy share its next forward pass."""

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
        """Record that a batch of `size` items left the queue and `queued` items remain."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    result: asyncio.Future[Result]
    since: float
    client: tuple[str, ...]


class Batcher(Generic[Item, Result]):
    """Batches the items of many callers for one function.

    One batch runs at a time, in its own thread. The next batch gathers meanwhile, so there is no
    added wait under load; an idle network waits at most `max_wait_s` for more items. The items of
    a cancelled caller are dropped before they run. Callers take turns, and a caller whose deadline
    would pass in the queue is refused at once (see `Backlog`).
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
        """Create a batcher; `start` begins the work.

        Args:
            run: called in a thread with 1 to `max_batch` items; returns as many results, in order.
            max_batch: maximum items per batch.
            max_wait_s: how long the first item of a batch waits for others, in seconds.
            max_queue: maximum queued items, at most four fifths of them of one caller; more are
                refused.
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
        """Start serving; call it on the event loop."""
        self._worker = self._background.keep("batcher", self._serve)

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """Return the results for some items, computed together with other queued items.

        Items are accepted all or none, and need not share a batch.

        Raises:
            Overloaded: INFERENCE_QUEUE_FULL, more than `max_queue` items would be queued;
                DEADLINE_TOO_CLOSE, the results would be late.
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
        """Raise DEADLINE_TOO_CLOSE if `submit` would, before any work is done."""
        self._queue.check(count, current_demand())

    async def close(self) -> None:
        """Refuse new and queued items, finish the current batch and stop the thread."""
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
        """Wait for a first item, then for more; return an empty batch if all were cancelled."""
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
        self._first_came = time.monotonic()  # the remaining items need not wait for more
        return batch

    async def _change(self, timeout_s: float | None) -> bool:
        """Wait for new items or the end; return whether there was a change in time."""
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
            # Later, as the callers then ask for time of the processor: the next batch starts first.
            loop.call_soon(_give, list(zip(batch.items, results, strict=True)))
        except Exception as error:  # noqa: BLE001 - passed to the callers
            _fail(batch.items, error)
        except asyncio.CancelledError:
            _fail(batch.items, _shutting_down())  # otherwise they would wait forever
            raise
        finally:
            self._queue.finish(batch)


def _give(answers: list[tuple[_Waiting[Item, Result], Result]]) -> None:
    for waiting, result in answers:
        if not waiting.result.done():
            waiting.result.set_result(result)


def _fail(batch: list[_Waiting[Item, Result]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.result.done():
            waiting.result.set_exception(error)


def _shutting_down() -> Unavailable:
    return Unavailable("SHUTTING_DOWN", "the service is shutting down")
