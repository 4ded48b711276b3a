"""On whose behalf this task works, and until when an answer is of use."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Demand:
    """What stands behind a piece of work.

    Attributes:
        caller: who shares fairly with others; "" is one caller, too.
        deadline: on the clock of `time.monotonic`, in seconds; None: there is none.
        trusted: may see similarities and choose any threshold; what the process itself does is.
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
    """What is done within, and in tasks begun within, is on behalf of `demand`."""
    token = _demand.set(demand)
    try:
        yield
    finally:
        _demand.reset(token)
