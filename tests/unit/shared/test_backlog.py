"""Who is served, and who is refused, by a clock that only the tests move."""

from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from shared.backlog import Backlog
from shared.demand import Demand
from shared.errors import Overloaded


@dataclass
class Server:
    """Serves a backlog: `seconds` for each batch, one after the other."""

    batch: int = 1
    seconds: float = 0.5
    now: float = 100.0
    done: list[str] = field(default_factory=list)
    in_time: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:  # noqa: D105
        self.backlog: Backlog[tuple[str, float | None]] = Backlog(
            batch=self.batch, clock=lambda: self.now
        )

    def ask(self, caller: str, within: float | None = None, kind: str = "") -> None:
        deadline = None if within is None else self.now + within
        self.backlog.add([(caller, deadline)], Demand(caller, deadline), kind=kind)

    def serve(self, batches: int = 1) -> None:
        for _ in range(batches):
            batch = self.backlog.take()
            if batch.items:
                self.now += self.seconds
                self.backlog.finish(batch)
            for caller, deadline in batch.items:
                self.done.append(caller)
                if deadline is None or self.now <= deadline:
                    self.in_time.append(caller)


def experienced(**options: float) -> Server:
    """A server that has learned how long its work takes."""
    server = Server(**options)  # type: ignore[arg-type]
    for _ in range(60):
        server.ask("")
        server.serve()
    server.done.clear()
    server.in_time.clear()
    return server


def test_what_would_come_too_late_is_refused_at_once_with_the_time_until_there_is_room() -> None:
    server = experienced()
    for _ in range(2):
        server.ask("a", within=2)
    # Two wait for half a second each; it is assumed that they wait half as long again.
    with pytest.raises(Overloaded, match=r"about 2 s; 1\.9 s are left") as caught:
        server.ask("a", within=1.9)
    assert caught.value.reason == "DEADLINE_TOO_CLOSE"
    assert caught.value.retry_after_s == pytest.approx(0.1, abs=0.01)
    with pytest.raises(Overloaded) as caught:
        server.ask("a", within=0.9)
    assert caught.value.retry_after_s == pytest.approx(1.1, abs=0.01)
    server.ask("a", within=2.1)
    server.ask("a")  # who sets no deadline may wait


def test_what_runs_counts_until_it_is_done() -> None:
    server = experienced()
    server.ask("a")
    batch = server.backlog.take()
    with pytest.raises(Overloaded):
        server.ask("a", within=0.9)
    server.now += 0.3
    server.ask("a", within=0.9)
    server.backlog.finish(batch)


def test_what_has_become_late_is_dropped_when_its_turn_comes() -> None:
    server = experienced()
    server.ask("a", within=2)
    server.ask("b", within=2)
    server.ask("c", within=9)
    server.now += 1.6
    server.serve()
    assert server.done == ["a"]  # came when nothing else was there
    batch = server.backlog.take()
    assert [caller for (caller, _), _ in batch.late] == ["b"]
    assert [caller for caller, _ in batch.items] == ["c"]
    server.backlog.finish(batch)
    server.ask("a", within=2)  # nothing runs: taken


def test_an_idle_server_takes_what_it_believes_to_be_too_late_and_learns() -> None:
    server = experienced(seconds=10)
    server.seconds = 0.1
    for _ in range(60):
        server.ask("a", within=1)
        server.serve()
    assert server.in_time == ["a"] * 60
    server.ask("a", within=1)
    server.ask("a", within=1)


def test_at_four_times_the_capacity_nearly_all_work_is_in_time() -> None:
    server = experienced()
    refused = 0
    for _ in range(200):
        for _ in range(4):
            try:
                server.ask("a", within=2)
            except Overloaded:
                refused += 1
        server.serve()
    assert refused > 500
    assert len(server.in_time) >= 0.95 * 200


def test_who_floods_waits_behind_himself() -> None:
    server = experienced()
    for _ in range(50):
        server.ask("flood")
    server.ask("a", within=2)
    server.ask("a", within=3)
    server.serve(6)
    assert server.in_time.count("a") == 2


def test_who_asks_seldom_is_next() -> None:
    server = experienced()
    for _ in range(9):
        server.ask("flood")
    server.serve(3)
    server.ask("a", within=0.6)
    server.serve()
    assert server.in_time[-1] == "a"


def test_a_flood_leaves_others_their_share() -> None:
    server = experienced()
    for _ in range(100):
        for _ in range(20):
            try:
                server.ask("flood", within=2)
            except Overloaded:
                break
        with suppress(Overloaded):
            server.ask("a", within=2)
        server.serve()
    assert server.in_time.count("a") >= 0.8 * 50
    assert len(server.in_time) >= 0.9 * 100


def test_callers_share_time_and_not_numbers() -> None:
    server = Server()
    for kind, seconds in (("photo", 0.9), ("crop", 0.1)):
        for _ in range(60):
            server.seconds = seconds
            server.ask("", kind=kind)
            server.serve()
    server.done.clear()
    for _ in range(40):
        server.ask("photos", kind="photo")
        server.ask("crops", kind="crop")
    server.serve(20)
    assert server.done.count("crops") == 18


def test_a_batch_is_full_before_another_begins() -> None:
    server = experienced(batch=4)
    for _ in range(60):
        for _ in range(4):
            server.ask("")
        server.serve()
    for _ in range(8):
        server.ask("a", within=1.3)
    with pytest.raises(Overloaded):
        server.ask("a", within=1.3)
    server.serve(2)
    assert server.in_time[-8:] == ["a"] * 8


def test_company_makes_nobody_late() -> None:
    """Of four that a batch could hold, two take as long as the first one may wait."""
    server = experienced(batch=4)
    server.ask("a", within=1.6)
    for _ in range(3):
        server.ask("a", within=60)
    server.serve()
    assert server.in_time == ["a", "a"]
    server.serve()
    assert server.in_time == ["a"] * 4


def test_items_that_come_together_are_taken_together() -> None:
    server = experienced(batch=4)
    server.ask("a")
    with pytest.raises(Overloaded):
        server.backlog.add([("b", None)] * 9, Demand("b", server.now + 1))
    assert len(server.backlog) == 1
    server.backlog.add([("b", None)] * 9, Demand("b", server.now + 60))
    assert len(server.backlog) == 10
