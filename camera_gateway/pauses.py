"""Exponential backoff with jitter."""

import random
from collections.abc import Iterator


def pauses(*, first_s: float, longest_s: float) -> Iterator[float]:
    """Yield delays in seconds: each is half to all of a limit that doubles up to `longest_s`.

    The delays are random so that cameras do not reconnect simultaneously.
    """
    limit_s = min(first_s, longest_s)
    while True:
        yield random.uniform(limit_s / 2, limit_s)  # noqa: S311 - not a secret
        limit_s = min(longest_s, 2 * limit_s)
