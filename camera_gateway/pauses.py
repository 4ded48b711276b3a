"""Pauses between tries that grow until one succeeds."""

import random
from collections.abc import Iterator


def pauses(*, first_s: float, longest_s: float) -> Iterator[float]:
    """Seconds to wait: each is between a half and all of a limit, which doubles up to `longest_s`.

    They are random, so that many cameras do not come back all at once.
    """
    limit_s = min(first_s, longest_s)
    while True:
        yield random.uniform(limit_s / 2, limit_s)  # noqa: S311 - no secret
        limit_s = min(longest_s, 2 * limit_s)
