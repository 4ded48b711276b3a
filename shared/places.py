"""Room that clients share, of which none of them gets all."""

from collections import Counter
from collections.abc import Sequence

from shared.errors import Overloaded

_SHARE = 4
_ALL_IN_ALL = ("",)  # no name of a client


class Places:
    """Room for so many calls at once, of which nobody gets all.

    A client may hold up to four times what is free. So one that is alone gets four fifths, two
    that want everything get four ninths each, and there is room left for who comes next, without
    anything set aside for clients that are not there (the dynamic thresholds by which switches
    share a buffer: Choudhury and Hahne, 1998).

    On one event loop it needs no lock.

    Args:
        cap: calls at once.
        what: they are, for the error: "requests".
        doing: what they do, for the error.
        reason: of the error.
        retry_after_s: what those are told who are refused, in seconds.
    """

    def __init__(
        self,
        cap: int,
        *,
        what: str,
        retry_after_s: float,
        doing: str = "are in flight",
        reason: str = "",
    ) -> None:
        self._cap = cap
        self._doing = doing
        self._reason = reason or f"TOO_MANY_{what.upper().replace(' ', '_')}"
        self._what = what
        self._retry_after_s = retry_after_s
        self._taken: Counter[object] = Counter()

    @property
    def taken(self) -> int:
        """Places that are not free."""
        return self._taken[_ALL_IN_ALL]

    def take(self, client: Sequence[str], count: int = 1) -> None:
        """Take places, all or none.

        Args:
            client: what it is known by, and what contains that: its address contains its
                connection, say, and may hold four times as much of what is free.
            count: how many.

        Raises:
            Overloaded: TOO_MANY_..., none is free, or none for this client.
        """
        if self.taken + count > self._cap:
            more = f" and {count} more came" if count > 1 else ""
            raise self._refusal(
                f"{self.taken} {self._what} {self._doing}{more}; at most {self._cap}"
            )
        share = self._cap - self.taken - (count - 1)
        for name in client:
            share *= _SHARE
            if self._taken[name] + (count - 1) >= share:
                raise self._refusal(
                    f"{self._taken[name]} {self._what} of this client and {self.taken} of "
                    f"{self._cap} in all {self._doing}; at most {share} of one client"
                )
        for part in (_ALL_IN_ALL, *client):
            self._taken[part] += count

    def free(self, client: Sequence[str], count: int = 1) -> None:
        """Give places back."""
        for name in (_ALL_IN_ALL, *client):
            self._taken[name] -= count
            if not self._taken[name]:
                del self._taken[name]

    def _refusal(self, message: str) -> Overloaded:
        return Overloaded(
            self._reason,
            f"{message} are accepted",
            retry_after_s=self._retry_after_s,
        )
