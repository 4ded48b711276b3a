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

_GAIN_OF_MEAN, _GAIN_OF_DEVIATION = 1 / 8, 1 / 4
_DEVIATIONS = 2.0
_LONGEST_RETRY_S, _SHORTEST_RETRY_S = 30.0, 0.1


@dataclass(slots=True)
class _Seconds:
    """A running mean and deviation, as TCP keeps them of round trips (Jacobson, 1988)."""

    mean: float
    deviation: float

    def observe(self, seconds: float) -> None:
        error = seconds - self.mean
        self.mean += _GAIN_OF_MEAN * error
        self.deviation += _GAIN_OF_DEVIATION * (abs(error) - self.deviation)

    def times(self, factor: float) -> "_Seconds":
        return _Seconds(self.mean * factor, self.deviation * factor)


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

    Callers take turns by the time that their items cost (self-clocked fair queueing: Golestani,
    1994), so that who floods waits behind himself. An item whose deadline would pass, by the
    times measured lately, is refused when it comes, and again when its turn comes; so all threads
    work on what will be in time. What comes to an idle backlog is always taken: it is how a
    wrong estimate is corrected.

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
        cost = self._time(kind, self._batch).mean / self._batch
        alone = not (self._waiting or self._running)
        if demand.deadline is not None and not alone:
            self._check(len(items), demand, kind, cost)
        tag = self._begin(demand.caller)
        for item in items:
            tag += max(cost, 1e-9)
            entry = _Waiting(tag, next(self._numbers), item, kind, demand, cost, alone)
            heapq.heappush(self._waiting, entry)
        self._last[demand.caller] = tag

    def take(self, wanted: Callable[[Item], bool] = lambda _: True) -> Batch[Item]:
        """The items whose turn it is, all of one kind; none if nothing waits.

        If there are any, call `finish` when they are done.

        Args:
            wanted: whether somebody still waits for an item.
        """
        now = self._clock()
        batch: Batch[Item] = Batch(self._waiting[0].kind if self._waiting else "", now)
        while (
            self._waiting
            and len(batch.items) < self._batch
            and self._waiting[0].kind == batch.kind
        ):
            entry = heapq.heappop(self._waiting)
            self._served = entry.tag
            needed = 0.0 if entry.alone else self._time(entry.kind, 1).mean
            if not wanted(entry.item):
                batch.given_up.append(entry.item)
            elif _is_late(entry.demand, now + needed):
                batch.late.append((entry.item, _refusal(entry.demand, now, now + needed)))
            else:
                batch.items.append(entry.item)
        if batch.items:
            self._running[batch] = now + self._time(batch.kind, len(batch.items)).mean
        elif not self._running and not self._waiting:
            self._last.clear()
        return batch

    def finish(self, batch: Batch[Item]) -> None:
        """A batch is done, whatever came of it: learn how long it took."""
        del self._running[batch]
        seconds = self._clock() - batch.started
        key = (batch.kind, _size_class(len(batch.items)))
        if key in self._times:
            self._times[key].observe(seconds)
        else:
            self._times[key] = _Seconds(seconds, seconds / 2)
        if not self._running and not self._waiting:
            self._last.clear()

    def clear(self) -> list[Item]:
        """Take out everything that waits."""
        items = [entry.item for entry in self._waiting]
        self._waiting.clear()
        return items

    def _check(self, count: int, demand: Demand, kind: str, cost: float) -> None:
        now = self._clock()
        tag = self._begin(demand.caller) + cost * count
        before = [entry.cost for entry in self._waiting if entry.tag <= tag]
        own = self._time(kind, min(self._batch, len(before) + count))
        running = sum(max(0.0, end - now) for end in self._running.values())
        # Of the items before these, some share their batch.
        others = max(0.0, sum(before) + cost * (count - self._batch))
        batches = 1 + others / own.mean if own.mean else 1
        doubt = _DEVIATIONS * own.deviation * math.sqrt(batches)
        end = now + (running + others) / self._servers + own.mean + doubt
        if _is_late(demand, end):
            raise _refusal(demand, now, end)

    def _begin(self, caller: str) -> float:
        return max(self._served, self._last.get(caller, 0.0))

    def _time(self, kind: str, size: int) -> _Seconds:
        """How long a batch of a size takes, from the sizes that were seen.

        More than was seen may take as much more; less takes no more.
        """
        wanted = _size_class(size)
        seen = {of: time for (kin, of), time in self._times.items() if kin == kind}
        if not seen:
            return _Seconds(0.0, 0.0)
        if wanted in seen:
            return seen[wanted]
        smaller = [of for of in seen if of < wanted]
        if smaller:
            return seen[max(smaller)].times(2.0 ** (wanted - max(smaller)))
        return seen[min(seen)]


def _size_class(size: int) -> int:
    """0 for 1, 1 for 2, 2 for up to 4, 3 for up to 8."""
    return (size - 1).bit_length()


def _is_late(demand: Demand, end: float) -> bool:
    return demand.deadline is not None and end > demand.deadline


def _refusal(demand: Demand, now: float, end: float) -> Overloaded:
    assert demand.deadline is not None
    left = demand.deadline - now
    return Overloaded(
        "DEADLINE_TOO_CLOSE",
        f"the answer would take about {end - now:.2g} s; {max(left, 0):.2g} s are left for it",
        retry_after_s=min(max(end - demand.deadline, _SHORTEST_RETRY_S), _LONGEST_RETRY_S),
    )
