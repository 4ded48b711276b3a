"""Threads for callers: what they run, what they never run, and that nobody waits for them."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from shared.demand import Demand, demanding
from shared.errors import Overloaded
from shared.serving.workers import Workers


@pytest.fixture
def go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def test_results_and_errors_are_their_callers_own() -> None:
    def fail() -> None:
        raise ArithmeticError("no")

    with closing(Workers(2, name="test")) as workers:
        assert await workers.run(lambda: 7, kind="") == 7
        with pytest.raises(ArithmeticError):
            await workers.run(fail, kind="")
        assert await workers.run(lambda: 8, kind="") == 8


async def test_whoever_gives_up_while_waiting_costs_nothing(go: threading.Event) -> None:
    ran = []
    with closing(Workers(1, name="test")) as workers:
        first = asyncio.create_task(workers.run(go.wait, kind=""))
        await asyncio.sleep(0)
        gone = asyncio.create_task(workers.run(lambda: ran.append("gone"), kind=""))
        stays = asyncio.create_task(workers.run(lambda: ran.append("stays"), kind=""))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(first, stays)
    assert ran == ["stays"]


async def test_a_busy_event_loop_holds_no_call_up() -> None:
    ran: list[int] = []
    with closing(Workers(1, name="test")) as workers:
        calls = [
            asyncio.create_task(workers.run(partial(ran.append, number), kind=""))
            for number in range(3)
        ]
        await asyncio.sleep(0)
        end = time.monotonic() + 10
        while len(ran) < len(calls) and time.monotonic() < end:
            time.sleep(0.001)  # noqa: ASYNC251 - the event loop is busy
        assert ran == [0, 1, 2]
        await asyncio.gather(*calls)


async def test_who_would_be_late_is_refused_and_callers_take_turns(go: threading.Event) -> None:
    order = []
    with closing(Workers(1, name="test")) as workers:
        await workers.run(lambda: time.sleep(0.05), kind="")
        first = asyncio.create_task(workers.run(go.wait, kind=""))
        await asyncio.sleep(0)
        with (
            demanding(Demand("a", time.monotonic() + 0.04)),
            pytest.raises(Overloaded, match="are left for it"),
        ):
            await workers.run(lambda: None, kind="")
        tasks = []
        for caller in ("flood", "flood", "flood", "other"):
            with demanding(Demand(caller)):
                work = workers.run(lambda caller=caller: order.append(caller), kind="")
                tasks.append(asyncio.create_task(work))
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(first, *tasks)
    assert order[:2] in (["flood", "other"], ["other", "flood"])


PROGRAM = """
import asyncio, threading
from contextlib import closing
from functools import partial
from shared.serving.process import run_process
from shared.serving.workers import Workers
from tests.services.serving.plumbing_service import PlumbingSettings

async def run(settings, registry):
    with closing(Workers(1, name="test")) as workers:
        asyncio.create_task(workers.run(threading.Event().wait, kind=""))
        await asyncio.sleep(0.1)
    print("closed", flush=True)

run_process(run, PlumbingSettings())
"""


def test_a_process_ends_although_a_thread_works_for_ever() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[4],
    )
    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr
