"""Exponential backoff with jitter."""

import random


class Backoff:
    """Random delays below a limit that doubles with each try.

    Args:
        first_s: initial limit, in seconds.
        longest_s: maximum limit, in seconds.
    """

    def __init__(self, *, first_s: float, longest_s: float) -> None:
        self._first_s = min(first_s, longest_s)
        self._longest_s = longest_s
        self.limit_s = self._first_s

    def pause_s(self) -> float:
        """The delay before the next try, in seconds; random, so that cameras do not synchronize."""
        limit_s, self.limit_s = self.limit_s, min(self._longest_s, 2 * self.limit_s)
        return random.uniform(0, limit_s)  # noqa: S311 - not a secret

    def reset(self) -> None:
        """Reset the limit to its initial value."""
        self.limit_s = self._first_s
