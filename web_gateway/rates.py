"""Limits how many requests each caller makes."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers

from web_gateway.problems import Problem

_BURST_S: Final = 10.0
"""A caller that was quiet may make the requests of so many seconds at once, as a page with many
pictures does."""
_MOST_CALLERS: Final = 10_000


class Rates:
    """The generic cell rate algorithm (ITU-T I.371), with one cell stream per caller.

    A caller is known by its token or session, else by its address. Of too many callers, those that
    were quiet longest are forgotten.

    Args:
        per_second: requests per second and caller.
        clock: monotonic seconds.
    """

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = 1 / per_second
        self._clock = clock
        self._due: OrderedDict[bytes, float] = OrderedDict()

    def check(self, headers: Headers, address: str) -> None:
        """Count a request.

        Raises:
            Problem: the caller makes too many (RATE_LIMITED).
        """
        caller = headers.get("authorization") or headers.get("cookie") or address
        # Only a digest is kept, so that memory holds no tokens.
        key = hashlib.blake2b(caller.encode(), digest_size=16).digest()
        now = self._clock()
        due = max(self._due.pop(key, now), now)
        wait_s = due + self._interval_s - now - max(_BURST_S, self._interval_s)
        if wait_s <= 0:
            due += self._interval_s
        self._due[key] = due
        if len(self._due) > _MOST_CALLERS:
            self._due.popitem(last=False)
        if wait_s > 0:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "RATE_LIMITED",
                f"this caller makes more than {1 / self._interval_s:g} requests per second",
                retry_after_s=wait_s,
            )
