"""Capacity shared fairly among clients."""

from collections import Counter
from collections.abc import Sequence

from shared.errors import Overloaded

_SHARE = 4
_ALL_IN_ALL = ("",)  # not the name of a client


class Places:
    """A limit on concurrent calls that no single client can exhaust.

    A client may hold up to four times the free capacity. A single client thus gets four fifths, and
    two greedy clients get four ninths each, so a newcomer always finds capacity without any being
    reserved for absent clients (dynamic thresholds of shared-memory switches: Choudhury and Hahne,
    1998).

    Not thread-safe: use it from one event loop.

    Args:
        cap: maximum number of concurrent calls.
        what: plural noun for the error message: "requests".
        doing: their activity, for the error message.
        reason: reason of the error; "": TOO_MANY_ and what they are.
        retry_after_s: retry delay in the error, in seconds.
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
        self._reason = reason
        self._what = what
        self._retry_after_s = retry_after_s
        self._taken: Counter[object] = Counter()

    @property
    def taken(self) -> int:
        """Number of places in use."""
        return self._taken[_ALL_IN_ALL]

    def take(self, client: Sequence[str], count: int = 1) -> None:
        """Take places, all or none.

        Args:
            client: keys of the client, from the narrowest to the widest, such as its connection and
                address; each wider one may hold four times as much of the free capacity.
            count: number of places.

        Raises:
            Overloaded: TOO_MANY_...; no place is free, or none for this client.
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
        """Release places."""
        for name in (_ALL_IN_ALL, *client):
            self._taken[name] -= count
            if not self._taken[name]:
                del self._taken[name]

    def _refusal(self, message: str) -> Overloaded:
        return Overloaded(
            self._reason or f"TOO_MANY_{self._what.upper().replace(' ', '_')}",
            f"{message} are accepted",
            retry_after_s=self._retry_after_s,
        )
