import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from recognizer_service.core.batching import Batcher
from shared.demand import Demand, demanding
from shared.errors import Overloaded, Unavailable
from shared.serving.background import Background


@dataclass
class Network:
    """Doubles numbers; remembers its batches, and waits to be let go where that is asked for."""

    batches: list[list[int]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        assert self.go.wait(10)
        if -1 in items:
            raise ArithmeticError("-1 cannot be doubled")
        return [2 * item for item in items]


@dataclass
class Observer:
    """Remembers what it is told."""

    batches: list[tuple[int, int]] = field(default_factory=list)
    longest_wait_s: float = 0

    def batch_started(self, *, size: int, longest_wait_s: float, queued: int) -> None:
        self.batches.append((size, queued))
        self.longest_wait_s = max(self.longest_wait_s, longest_wait_s)


@pytest.fixture
def network() -> Network:
    network = Network()
    network.go.set()
    return network


@asynccontextmanager
async def batching(
    network: Callable[[Sequence[int]], Sequence[int]],
    observer: Observer | None = None,
    **limits: float,
) -> AsyncIterator[Batcher[int, int]]:
    options = {"max_batch": 4, "max_wait_s": 0, "max_queue": 100, **limits}
    batcher: Batcher[int, int] = Batcher(
        network,
        observer=observer or Observer(),
        background=Background(CollectorRegistry()),
        **options,
    )
    batcher.start()
    try:
        yield batcher
    finally:
        if isinstance(network, Network):
            network.go.set()
        await batcher.close()


async def busy(batcher: Batcher[int, int], network: Network) -> asyncio.Task[list[int]]:
    """Keep the network at work on a first item until it is let go."""
    network.go.clear()
    first = asyncio.create_task(batcher.submit([0]))
    async with asyncio.timeout(5):
        while not network.batches:  # noqa: ASYNC110 - another thread fills it
            await asyncio.sleep(0.001)
    return first


async def test_everybody_gets_the_result_for_what_they_brought(network: Network) -> None:
    async with batching(network, max_wait_s=0.02) as batcher:
        results = await asyncio.gather(*(batcher.submit([n, n + 100]) for n in range(20)))
    assert results == [[2 * n, 2 * n + 200] for n in range(20)]


async def test_no_batch_is_larger_than_the_limit(network: Network) -> None:
    async with batching(network, max_wait_s=0.02) as batcher:
        assert await batcher.submit(range(10)) == list(range(0, 20, 2))
    assert [len(batch) for batch in network.batches] == [4, 4, 2]


async def test_what_arrives_while_the_network_is_busy_shares_the_next_pass(
    network: Network,
) -> None:
    observer = Observer()
    async with batching(network, observer) as batcher:
        first = await busy(batcher, network)
        others = [asyncio.create_task(batcher.submit([n])) for n in (1, 2, 3)]
        await asyncio.sleep(0.01)
        network.go.set()
        await asyncio.gather(first, *others)
    assert network.batches == [[0], [1, 2, 3]]
    assert observer.batches == [(1, 0), (3, 0)]
    assert observer.longest_wait_s >= 0.01


async def test_an_idle_network_waits_for_company_but_not_for_long(network: Network) -> None:
    async with batching(network, max_wait_s=0.05) as batcher:
        first = asyncio.create_task(batcher.submit([1]))
        await asyncio.sleep(0.01)
        assert network.batches == []
        assert await batcher.submit([2]) == [4]
        assert await first == [2]
        assert network.batches == [[1, 2]]


async def test_a_full_batch_does_not_wait(network: Network) -> None:
    async with batching(network, max_wait_s=60) as batcher:
        await asyncio.wait_for(batcher.submit([1, 2, 3, 4]), 5)


async def test_a_caller_who_gave_up_is_dropped_before_the_network_sees_it(
    network: Network,
) -> None:
    async with batching(network) as batcher:
        first = await busy(batcher, network)
        gone, stays = (asyncio.create_task(batcher.submit([n])) for n in (1, 2))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.01)
        network.go.set()
        assert await stays == [4]
        await first
    assert gone.cancelled()
    assert network.batches == [[0], [2]]


async def test_a_batch_of_callers_who_all_gave_up_never_runs(network: Network) -> None:
    async with batching(network, max_wait_s=0.02) as batcher:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.submit([1, 2]), 0.005)
        await asyncio.sleep(0.05)
        assert network.batches == []
        assert await batcher.submit([3]) == [6]


async def test_a_full_queue_takes_all_of_a_request_or_nothing(network: Network) -> None:
    async with batching(network, max_queue=3) as batcher:
        first = await busy(batcher, network)
        waiting = asyncio.create_task(batcher.submit([1, 2]))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match=r"2 maps wait .* 2 more came; at most 3") as caught:
            await batcher.submit([3, 4])
        assert caught.value.reason == "INFERENCE_QUEUE_FULL"
        assert caught.value.retry_after_s > 0
        last = asyncio.create_task(batcher.submit([5]))
        await asyncio.sleep(0)
        network.go.set()
        assert await asyncio.gather(first, waiting, last) == [[0], [2, 4], [10]]
    assert network.batches == [[0], [1, 2, 5]]


async def test_who_would_be_late_is_told_before_anything_is_done(network: Network) -> None:
    async with batching(network) as batcher:
        with demanding(Demand("a", time.monotonic() - 1)):
            batcher.check(1)  # nothing else is there
        first = await busy(batcher, network)
        with demanding(Demand("a", time.monotonic() - 1)):
            with pytest.raises(Overloaded, match="0 s are left"):
                batcher.check(1)
            with pytest.raises(Overloaded, match="0 s are left"):
                await batcher.submit([2])
        network.go.set()
        await first


async def test_a_failing_pass_is_the_business_of_its_callers_alone(network: Network) -> None:
    async with batching(network) as batcher:
        for _ in range(2):
            with pytest.raises(ArithmeticError):
                await batcher.submit([-1])
        assert await batcher.submit([1]) == [2]


async def test_closing_finishes_the_pass_in_hand_and_refuses_the_rest(network: Network) -> None:
    async with batching(network) as batcher:
        first = await busy(batcher, network)
        waiting = asyncio.create_task(batcher.submit([1]))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(batcher.close())
        with pytest.raises(Unavailable):
            await waiting
        with pytest.raises(Unavailable):
            await batcher.submit([2])
        network.go.set()
        await closing
        assert await first == [0]
    assert network.batches == [[0]]


class FailingObserver(Observer):
    """Fails when it is told of the first batch."""

    def batch_started(self, *, size: int, longest_wait_s: float, queued: int) -> None:
        super().batch_started(size=size, longest_wait_s=longest_wait_s, queued=queued)
        if len(self.batches) == 1:
            raise ArithmeticError("cannot count")


async def test_an_observer_that_fails_costs_one_batch() -> None:
    network = Network()
    network.go.set()
    async with batching(network, FailingObserver()) as batcher:
        with pytest.raises(ArithmeticError):
            await batcher.submit([1])
        assert await batcher.submit([2]) == [4]


async def test_a_network_that_loses_results_costs_one_batch() -> None:
    results = iter([[], [4]])

    def run(items: Sequence[int]) -> list[int]:  # noqa: ARG001
        return next(results)

    async with batching(run) as batcher:
        with pytest.raises(ValueError, match="zip"):
            await batcher.submit([1])
        assert await batcher.submit([2]) == [4]


async def test_a_stray_cancellation_costs_one_batch() -> None:
    """As if a future that the worker waits for were cancelled."""
    network, calls = Network(), 0
    network.go.set()

    class Cancelling(Observer):
        def batch_started(self, *, size: int, longest_wait_s: float, queued: int) -> None:  # noqa: ARG002
            nonlocal calls
            calls += 1
            if calls == 1:
                raise asyncio.CancelledError

    async with batching(network, Cancelling()) as batcher:
        with pytest.raises(Unavailable):
            await batcher.submit([1])
        assert await batcher.submit([2]) == [4]
