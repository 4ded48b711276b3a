"""A fair queue of work with deadlines and load shedding."""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from shared.demand import Demand
from shared.errors import Overloaded

Item = TypeVar("Item")

_GAIN = 1 / 4
_CAUTION = 1.5
"""Safety factor on the expected waiting time. With a smaller one, accepted items finish close to
their deadlines, and half of them after it. The threads stay busy all the same.
"""
_LEAST_COST = 1e-9  # fair queueing also works while costs are unknown
_LONGEST_RETRY_S, _SHORTEST_RETRY_S = 30.0, 0.1


@dataclass(slots=True)
class _Seconds:
    """Running mean and deviation, as TCP computes them for round-trip times."""

    mean: float = 0.0
    deviation: float = 0.0
    seen: int = 0

    def observe(self, seconds: float) -> None:
        error = seconds - self.mean
        self.mean += max(_GAIN, 1 / (self.seen + 1)) * error
        if self.seen:
            gain = max(_GAIN, 1 / self.seen)
            self.deviation += gain * (abs(error) - self.deviation)
        self.seen += 1

    def times(self, factor: float) -> "_Seconds":
        return _Seconds(self.mean * factor, self.deviation * factor, self.seen)


@dataclass(order=True, slots=True)
class _Waiting(Generic[Item]):
    tag: float
    number: int
    item: Item = field(compare=False)
    kind: str = field(compare=False)
    demand: Demand = field(compare=False)
    cost: float = field(compare=False)
    alone: bool = field(compare=False)
    """Whether the item was added to an idle backlog."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch(Generic[Item]):
    """Items taken together.

    Attributes:
        items: items to process.
        late: items that would miss their deadline; report an error to their callers.
        given_up: items that no caller waits for any more.
    """

    kind: str
    started: float
    items: list[Item] = field(default_factory=list)
    late: list[tuple[Item, Overloaded]] = field(default_factory=list)
    given_up: list[Item] = field(default_factory=list)

    @property
    def taken(self) -> list[Item]:
        """All items removed from the backlog."""
        return [*self.items, *(item for item, _ in self.late), *self.given_up]


class Backlog(Generic[Item]):
    """Items in the order in which to process them.

    Callers share time by the cost of their items (start-time fair queueing: Goyal, Vin and Cheng,
    1996), so a caller that floods delays only itself, and infrequent callers come first. An item
    that would miss its deadline, by recent measurements, is rejected when added, and again when
    taken, so threads only process items that can be in time. An idle backlog accepts every item,
    which corrects wrong estimates.

    Not thread-safe: use it from one thread.
    """

    def __init__(
        self,
        *,
        servers: int = 1,
        batch: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create an empty backlog without time estimates.

        Args:
            servers: number of batches processed concurrently.
            batch: maximum number of items per batch.
            clock: clock of the deadlines, in seconds.
        """
        self._servers = servers
        self._batch = batch
        self._clock = clock
        self._numbers = itertools.count()
        self._waiting: list[_Waiting[Item]] = []
        self._served = 0.0
        """Start tag of the item taken last: the virtual time."""
        self._last: dict[str, float] = {}
        self._times: dict[tuple[str, int], _Seconds] = {}
        """Time per item, by kind and batch size class."""
        self._running: dict[Batch[Item], float] = {}

    def __len__(self) -> int:
        """Number of waiting items."""
        return len(self._waiting)

    def add(self, items: Sequence[Item], demand: Demand, *, kind: str = "") -> None:
        """Add items, all or none.

        Args:
            items: items of one caller.
            demand: the caller and its deadline.
            kind: key for estimates; items of one kind take about the same time.

        Raises:
            Overloaded: DEADLINE_TOO_CLOSE; they would miss the deadline.
        """
        self.check(len(items), demand, kind=kind)
        cost = self._time(kind, self._batch).mean / self._batch
        alone = not (self._waiting or self._running)
        tag = self._begin(demand.caller)
        for item in items:
            entry = _Waiting(tag, next(self._numbers), item, kind, demand, cost, alone)
            heapq.heappush(self._waiting, entry)
            tag += max(cost, _LEAST_COST)
        self._last[demand.caller] = tag

    def check(self, count: int, demand: Demand, *, kind: str = "") -> None:
        """Raise the error that `add` would raise for `count` items."""
        if demand.deadline is None or not (self._waiting or self._running):
            return
        cost = self._time(kind, self._batch).mean / self._batch
        now = self._clock()
        tag = self._begin(demand.caller) + cost * (count - 1)  # of the last item
        before = [entry.cost for entry in self._waiting if entry.tag <= tag]
        own = self._time(kind, min(self._batch, len(before) + count))
        running = sum(max(0.0, end - now) for end in self._running.values())
        # Some of the items before these share their batch.
        others = max(0.0, sum(before) + cost * (count - self._batch))
        wait = (running + others) / self._servers
        end = now + _CAUTION * wait + own.mean + own.deviation
        if end > _deadline(demand):
            raise _refusal(demand, now, end)

    def take(self, wanted: Callable[[Item], bool] = lambda _: True) -> Batch[Item]:
        """Take the next items, all of one kind; none if nothing waits.

        If there are any, call `finish` when they are done.

        Args:
            wanted: whether a caller still waits for an item.
        """
        now = self._clock()
        batch: Batch[Item] = Batch(self._waiting[0].kind if self._waiting else "", now)
        earliest = math.inf
        while self._waiting and len(batch.items) < self._batch:
            entry = self._waiting[0]
            if entry.kind != batch.kind:
                break
            if not wanted(entry.item):
                batch.given_up.append(entry.item)
            elif refusal := self._too_late(entry, now):
                batch.late.append((entry.item, refusal))
            else:
                # Batching must not delay any item past its deadline: all finish with the last.
                ends = min(earliest, _deadline(entry.demand))
                needed = self._time(batch.kind, len(batch.items) + 1).mean
                if batch.items and now + _CAUTION * needed > ends:
                    break
                earliest = ends
                batch.items.append(entry.item)
            heapq.heappop(self._waiting)
            self._served = entry.tag
        if batch.items:
            self._running[batch] = now + self._time(batch.kind, len(batch.items)).mean
        elif not self._running and not self._waiting:
            self._last.clear()
        return batch

    def finish(self, batch: Batch[Item]) -> None:
        """Record that a batch is done, successfully or not, and how long it took."""
        del self._running[batch]
        size = len(batch.items)
        seconds = self._times.setdefault((batch.kind, _size_class(size)), _Seconds())
        seconds.observe((self._clock() - batch.started) / size)
        if not self._running and not self._waiting:
            self._last.clear()

    def clear(self) -> list[Item]:
        """Remove and return all waiting items."""
        items = [entry.item for entry in self._waiting]
        self._waiting.clear()
        return items

    def _too_late(self, entry: _Waiting[Item], now: float) -> Overloaded | None:
        needed = 0.0 if entry.alone else self._time(entry.kind, 1).mean
        if now + needed <= _deadline(entry.demand):
            return None
        return _refusal(entry.demand, now, now + needed)

    def _begin(self, caller: str) -> float:
        return max(self._served, self._last.get(caller, 0.0))

    def _time(self, kind: str, size: int) -> _Seconds:
        """Estimate the time per item at a batch size from the nearest sizes measured.

        An item takes at most the time it takes in smaller batches, and a batch at most that of a
        larger one.
        """
        wanted = _size_class(size)
        seen = [of for kin, of in self._times if kin == kind]
        guesses = []
        if smaller := [of for of in seen if of <= wanted]:
            guesses.append(self._times[kind, max(smaller)].times(size))
        if larger := [of for of in seen if of > wanted]:
            guesses.append(self._times[kind, min(larger)].times(2 ** (min(larger) - 1) + 1))
        return min(guesses, key=lambda guess: guess.mean, default=_Seconds())


def _size_class(size: int) -> int:
    """0 for 1, 1 for 2, 2 for up to 4, 3 for up to 8."""
    return (size - 1).bit_length()


def _deadline(demand: Demand) -> float:
    return math.inf if demand.deadline is None else demand.deadline


def _refusal(demand: Demand, now: float, end: float) -> Overloaded:
    assert demand.deadline is not None
    left = demand.deadline - now
    return Overloaded(
        "DEADLINE_TOO_CLOSE",
        f"the answer would take about {end - now:.2g} s; {max(left, 0):.2g} s are left for it",
        retry_after_s=min(max(end - demand.deadline, _SHORTEST_RETRY_S), _LONGEST_RETRY_S),
    )
