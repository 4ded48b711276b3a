"""A thread pool with fair queueing and deadlines."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.backlog import Backlog, Batch
from shared.demand import current_demand

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    work: Callable[[], Any]
    result: asyncio.Future[Any]


class Workers:
    """Runs blocking calls for concurrent callers, in the order of `Backlog`.

    Args:
        threads: number of threads.
        name: name prefix of the threads.
    """

    def __init__(self, threads: int, *, name: str) -> None:
        self._threads = threads
        self._running: set[asyncio.Task[None]] = set()
        self._backlog: Backlog[_Job] = Backlog(servers=threads)
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
        self._backlog.add([job], current_demand(), kind=kind)
        self._start()
        result: T = await job.result
        return result

    def close(self) -> None:
        """Start no more work, without waiting for running calls: threads cannot be stopped."""
        for job in self._backlog.clear():
            job.result.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while len(self._running) < self._threads and self._backlog:
            batch = self._backlog.take(lambda job: not job.result.done())
            for job, refusal in batch.late:
                job.result.set_exception(refusal)
            if batch.items:
                task = asyncio.create_task(self._run(batch))
                self._running.add(task)
                task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    async def _run(self, batch: Batch[_Job]) -> None:
        (job,) = batch.items
        loop = asyncio.get_running_loop()
        try:
            result = await loop.run_in_executor(self._executor, job.work)
        except asyncio.CancelledError:
            job.result.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - raised to the caller
            if not job.result.done():
                job.result.set_exception(error)
        else:
            if not job.result.done():
                job.result.set_result(result)
        finally:
            self._backlog.finish(batch)
