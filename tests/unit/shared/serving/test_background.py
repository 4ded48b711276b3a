import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from shared.serving.background import Background


class Work:
    """Ends as it is told, once each time it is run, and then works until it is cancelled."""

    def __init__(self, *endings: Callable[[], None]) -> None:
        self._endings = list(endings)
        self.runs = 0
        self.at_work = asyncio.Event()

    async def __call__(self) -> None:
        self.runs += 1
        if self._endings:
            self._endings.pop(0)()
        else:
            self.at_work.set()
            await asyncio.Event().wait()


def fail() -> None:
    raise ArithmeticError("too large")


def stray() -> None:
    """What awaiting a future that somebody cancelled raises."""
    raise asyncio.CancelledError


def failures(registry: CollectorRegistry, task: str) -> float | None:
    return registry.get_sample_value("compactface_background_failures_total", {"task": task})


async def test_a_task_that_fails_is_logged_counted_and_begun_again() -> None:
    registry = CollectorRegistry()
    work = Work(fail, stray, fail)
    with capture_logs() as logs:
        task = Background(registry).keep("work", work, pause_s=0)
        assert failures(registry, "work") == 0
        async with asyncio.timeout(10):
            await work.at_work.wait()
    assert work.runs == 4
    assert failures(registry, "work") == 3
    assert [line["event"] for line in logs] == ["background_task_failed"] * 3
    assert all(line["log_level"] == "error" and line["exc_info"] for line in logs)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert failures(registry, "work") == 3


async def test_a_task_that_is_done_is_not_begun_again() -> None:
    work = Work(lambda: None)
    await Background(CollectorRegistry()).keep("work", work, pause_s=0)
    assert work.runs == 1


@pytest.mark.parametrize("ending", [fail, stray])
async def test_a_task_with_an_end_is_counted_though_nobody_awaits_it(
    ending: Callable[[], None],
) -> None:
    registry = CollectorRegistry()
    with capture_logs() as logs:
        task = Background(registry).start("job", Work(ending)())
        await asyncio.wait([task])
    assert failures(registry, "job") == 1
    assert [line["event"] for line in logs] == ["background_task_failed"]
    assert task.cancelled() or task.exception() is not None
