"""Background tasks whose failures are always logged and counted."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter

_log = structlog.get_logger(__name__)


class Background:
    """Starts a service's background tasks; logs and counts each failure.

    The counter is `compactface_background_failures_total`, by task.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._failures = Counter(
            "compactface_background_failures",
            "Failures of tasks that run beside the calls.",
            ("task",),
            registry=registry,
        )

    def keep(
        self, name: str, run: Callable[[], Awaitable[None]], *, pause_s: float = 1.0
    ) -> asyncio.Task[None]:
        """Start an essential task and restart it after each failure.

        Args:
            name: name of the task in logs and the metric.
            run: the work. The task ends when `run` returns or the task is cancelled.
            pause_s: delay before a restart, in seconds.
        """
        self._failures.labels(name)  # start at 0, so that the first failure is an increase
        return asyncio.create_task(self._keep(name, run, pause_s), name=name)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a finite, optional task.

        Its exception is logged and counted even if nothing awaits the task.
        """
        self._failures.labels(name)
        return asyncio.create_task(self._watch(name, work), name=name)

    def failed(self, name: str) -> None:
        """Log and count the exception being handled. Thread-safe."""
        _log.exception("background_task_failed", task=name)
        self._failures.labels(name).inc()

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while True:
            try:
                return await run()
            except asyncio.CancelledError:
                if _cancelled():
                    raise
                # Something awaited was cancelled, such as a grpc.aio call. The exception would end
                # the task as if the task itself had been cancelled.
                self.failed(name)
            except Exception:  # noqa: BLE001 - any failure must be recorded
                self.failed(name)
            await asyncio.sleep(pause_s)

    async def _watch(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            if not _cancelled():
                self.failed(name)
            raise
        except Exception:
            self.failed(name)
            raise


def _cancelled() -> bool:
    """Whether cancellation of this task was requested."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
