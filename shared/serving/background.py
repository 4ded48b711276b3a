"""Work that runs beside the calls: none of it ends unseen."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter

_log = structlog.get_logger(__name__)


class Background:
    """Starts a service's background tasks; each failure is logged and counted.

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
        """Start a task without which the service is of no use: after a failure it begins again.

        Args:
            name: in logs and in the metric.
            run: the work. It ends when this returns, or when the task is cancelled.
            pause_s: between a failure and the next beginning, in seconds.
        """
        self._failures.labels(name)  # 0 from the start: the first failure is a rise
        return asyncio.create_task(self._keep(name, run, pause_s), name=name)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task with an end of its own, which the service can do without.

        Its exception is logged and counted even if nobody awaits the task.
        """
        self._failures.labels(name)
        return asyncio.create_task(self._watch(name, work), name=name)

    def failed(self, name: str) -> None:
        """Log and count the exception being handled; from any thread."""
        _log.exception("background_task_failed", task=name)
        self._failures.labels(name).inc()

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while True:
            try:
                return await run()
            except asyncio.CancelledError:
                if _cancelled():
                    raise
                # Something it waited for was cancelled, a call of grpc.aio for instance. Such an
                # exception would end the task as if that had been asked for.
                self.failed(name)
            except Exception:  # noqa: BLE001 - the point of it
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
    """Whether somebody has asked this task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
