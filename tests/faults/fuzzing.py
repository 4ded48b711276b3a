"""Gives a target many inputs, and tells how it crashed.

Files are made by functions of a `Random`, many times as fast as Hypothesis draws them. Messages
have fields of many types, which Hypothesis fills.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

_SEED_BITS = 60
_TOLD = 2000  # characters

Target = Callable[[Any], None]
"""Reads one input; raises whatever is not a legal answer."""

Make = Callable[[Random], Any]
"""Makes an input; equal random numbers make equal inputs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one target.

    Attributes:
        target: its name.
        inputs: given to it.
        crash: an input that crashed it, and how; "" if none did.
    """

    target: str
    inputs: int
    crash: str


def fuzz_made(name: str, make: Make, target: Target, count: int) -> Outcome:
    """Give a target so many inputs made from random numbers, or as many as it takes to crash it.

    The crash tells the seed, from which the input can be made again.
    """
    first = SystemRandom().getrandbits(_SEED_BITS)
    for seed in range(first, first + count):
        one = _made(make, seed)
        try:
            target(one)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
            told = f"{type(error).__name__}: {error} from Random({seed}): {one!r}"
            return Outcome(name, seed - first + 1, told[:_TOLD])
    return Outcome(name, count, "")


def by_hypothesis(make: Make) -> st.SearchStrategy[Any]:
    """The same inputs, for Hypothesis."""
    return st.integers(0, 2**_SEED_BITS).map(lambda seed: _made(make, seed))


def _made(make: Make, seed: int) -> Any:
    return make(Random(seed))  # noqa: S311 - repeatable, not secret


def fuzz(name: str, inputs: st.SearchStrategy[Any], target: Target, count: int) -> Outcome:
    """Give a target so many inputs, or as many as it takes to crash it.

    The crash is that of the smallest input found.
    """
    given_so_far = 0

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def take(one: Any) -> None:
        nonlocal given_so_far
        given_so_far += 1
        target(one)

    try:
        take()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
        notes = " ".join(getattr(error, "__notes__", ()))
        return Outcome(name, given_so_far, f"{type(error).__name__}: {error} {notes}"[:_TOLD])
    return Outcome(name, given_so_far, "")
