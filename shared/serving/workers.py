"""A thread pool with fair queueing and deadlines."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from shared.backlog import Backlog, Batch
from shared.demand import current_demand

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    work: Callable[[], Any]
    result: asyncio.Future[Any]

    def fail(self, error: Exception) -> None:
        """Raise an error to the caller; call it in a thread."""
        self._tell(lambda: self.result.set_exception(error))

    def finish(self, outcome: Any) -> None:
        """Return the result to the caller; call it in a thread."""
        self._tell(lambda: self.result.set_result(outcome))

    def _tell(self, set_outcome: Callable[[], None]) -> None:
        def on_loop() -> None:
            if not self.result.done():  # cancelled
                set_outcome()

        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            self.result.get_loop().call_soon_threadsafe(on_loop)


class Workers:
    """Runs blocking calls for concurrent callers, in the order of `Backlog`.

    A thread that has finished takes the next call itself: a busy event loop does not hold it up.

    Args:
        threads: number of threads.
        name: name prefix of the threads.
    """

    def __init__(self, threads: int, *, name: str) -> None:
        self._threads = threads
        self._running = 0
        self._backlog: Backlog[_Job] = Backlog(servers=threads)
        self._lock = Lock()
        """For the two above."""
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[[], T], *, kind: str) -> T:
        """Run `work` in a thread and return its result. If the caller is cancelled first, skip it.

        Args:
            work: called outside the event loop.
            kind: key for estimates; calls of one kind take about the same time.

        Raises:
            Overloaded: DEADLINE_TOO_CLOSE.
        """
        job = _Job(work, asyncio.get_running_loop().create_future())
        with self._lock:
            self._backlog.add([job], current_demand(), kind=kind)
            if self._running < self._threads:
                self._executor.submit(self._work)
                self._running += 1
        result: T = await job.result
        return result

    def close(self) -> None:
        """Start no more work, without waiting for running calls: threads cannot be stopped."""
        with self._lock:
            jobs = self._backlog.clear()
        for job in jobs:
            job.result.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _work(self) -> None:
        """Run calls until none waits."""
        while batch := self._next():
            for job in batch.items:
                _run(job)
            with self._lock:
                self._backlog.finish(batch)

    def _next(self) -> Batch[_Job] | None:
        while True:
            with self._lock:
                batch = self._backlog.take(lambda job: not job.result.done())
                if not batch.taken:
                    self._running -= 1
                    return None
            for job, refusal in batch.late:
                job.fail(refusal)
            if batch.items:
                return batch


def _run(job: _Job) -> None:
    try:
        outcome = job.work()
    except Exception as error:  # noqa: BLE001 - raised to the caller
        job.fail(error)
    else:
        job.finish(outcome)
