"""The caller and deadline of the work that a task does."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Demand:
    """The origin of a piece of work.

    Attributes:
        caller: the unit of fair sharing; "" is also a caller.
        deadline: on the clock of `time.monotonic`, in seconds; None: no deadline.
        trusted: may read similarities and choose any threshold; True for the process's own work.
    """

    caller: str = ""
    deadline: float | None = None
    trusted: bool = True


_demand: ContextVar[Demand] = ContextVar("demand", default=Demand())  # noqa: B039 - frozen


def current_demand() -> Demand:
    """The demand of the call that this task serves."""
    return _demand.get()


@contextmanager
def demanding(demand: Demand) -> Iterator[None]:
    """Attribute work in the block, and in tasks started there, to `demand`."""
    token = _demand.set(demand)
    try:
        yield
    finally:
        _demand.reset(token)
