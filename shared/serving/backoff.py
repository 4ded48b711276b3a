"""Pauses between tries that grow until one succeeds."""

import random


class Backoff:
    """Each pause is random, up to a limit that doubles from one to the next.

    Args:
        first_s: the first limit, in seconds.
        longest_s: where the limit stops growing, in seconds.
    """

    def __init__(self, *, first_s: float, longest_s: float) -> None:
        self._first_s = min(first_s, longest_s)
        self._longest_s = longest_s
        self.limit_s = self._first_s

    def pause_s(self) -> float:
        """How long to wait before the next try, in seconds; cameras do not come all at once."""
        limit_s, self.limit_s = self.limit_s, min(self._longest_s, 2 * self.limit_s)
        return random.uniform(0, limit_s)  # noqa: S311 - no secret

    def reset(self) -> None:
        """Begin with the first limit again."""
        self.limit_s = self._first_s
