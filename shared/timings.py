"""Timing of the stages of a call."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageTimings:
    """Milliseconds per stage, as attributes of a subclass."""

    __slots__ = ()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the block's wall-clock time to the attribute `stage`."""
        began = time.perf_counter()
        yield
        setattr(self, stage, getattr(self, stage) + 1000 * (time.perf_counter() - began))
