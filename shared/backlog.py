"""Work that waits for threads: who is next, and who had better not wait at all."""

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
"""Waiting is taken to last this much longer than expected: with less, what is done at all would be
done at the last moment, and half of it after that. The threads have work all the same."""
_LEAST_COST = 1e-9  # callers take turns also where nothing is known of costs
_LONGEST_RETRY_S, _SHORTEST_RETRY_S = 30.0, 0.1


@dataclass(slots=True)
class _Seconds:
    """A running mean and deviation, as TCP keeps them of round trips."""

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
    """Came while nothing else was there."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch(Generic[Item]):
    """Work taken together.

    Attributes:
        items: what to do.
        late: what would not be done in time any more; tell those who wait for it.
        given_up: what nobody waits for any more.
    """

    kind: str
    started: float
    items: list[Item] = field(default_factory=list)
    late: list[tuple[Item, Overloaded]] = field(default_factory=list)
    given_up: list[Item] = field(default_factory=list)

    @property
    def taken(self) -> list[Item]:
        """All that waits no longer."""
        return [*self.items, *(item for item, _ in self.late), *self.given_up]


class Backlog(Generic[Item]):
    """Items in the order in which to serve them.

    Callers take turns by the time that their items cost (start-time fair queueing: Goyal, Vin and
    Cheng, 1996), so that who floods waits behind himself, and who asks seldom is next. An item
    whose deadline would pass, by the times measured lately, is refused when it comes, and again
    when its turn comes; so all threads work on what will be in time. What comes to an idle backlog
    is always taken: it is how a wrong estimate is corrected.

    It has no lock: call it from one thread.
    """

    def __init__(
        self,
        *,
        servers: int = 1,
        batch: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin empty, and without an idea of how long anything takes.

        Args:
            servers: batches that are worked on at once.
            batch: most items of one of them.
            clock: seconds; that of the deadlines.
        """
        self._servers = servers
        self._batch = batch
        self._clock = clock
        self._numbers = itertools.count()
        self._waiting: list[_Waiting[Item]] = []
        self._served = 0.0
        """The tag of what was taken last: how far the turns have come."""
        self._last: dict[str, float] = {}
        self._times: dict[tuple[str, int], _Seconds] = {}
        """Of one item, by kind and the class of the batch's size."""
        self._running: dict[Batch[Item], float] = {}

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._waiting)

    def add(self, items: Sequence[Item], demand: Demand, *, kind: str = "") -> None:
        """Let items wait for their turn, all or none.

        Args:
            items: of one caller.
            demand: who that is, and until when.
            kind: items of one kind take about the same time.

        Raises:
            Overloaded: DEADLINE_TOO_CLOSE; they would not be done by then.
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
        """Raise what `add` would raise for so many items."""
        if demand.deadline is None or not (self._waiting or self._running):
            return
        cost = self._time(kind, self._batch).mean / self._batch
        now = self._clock()
        tag = self._begin(demand.caller) + cost * (count - 1)  # of the last of them
        before = [entry.cost for entry in self._waiting if entry.tag <= tag]
        own = self._time(kind, min(self._batch, len(before) + count))
        running = sum(max(0.0, end - now) for end in self._running.values())
        # Of the items before these, some share their batch.
        others = max(0.0, sum(before) + cost * (count - self._batch))
        wait = (running + others) / self._servers
        end = now + _CAUTION * wait + own.mean + own.deviation
        if end > _deadline(demand):
            raise _refusal(demand, now, end)

    def take(self, wanted: Callable[[Item], bool] = lambda _: True) -> Batch[Item]:
        """The items whose turn it is, all of one kind; none if nothing waits.

        If there are any, call `finish` when they are done.

        Args:
            wanted: whether somebody still waits for an item.
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
                # Company must not make anybody late: all of a batch are done when the last is.
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
        """A batch is done, whatever came of it: learn how long it took."""
        del self._running[batch]
        size = len(batch.items)
        seconds = self._times.setdefault((batch.kind, _size_class(size)), _Seconds())
        seconds.observe((self._clock() - batch.started) / size)
        if not self._running and not self._waiting:
            self._last.clear()

    def clear(self) -> list[Item]:
        """Take out everything that waits."""
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
        """How long a batch of a size takes, by the nearest sizes that were seen.

        An item takes as long as in smaller batches, and a batch as long as one that is larger.
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
