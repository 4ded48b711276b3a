"""Who is signed in: tokens stay in this process, and a browser holds a random number."""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """One browser that is signed in.

    Attributes:
        token: what it shows the services; "": nothing.
        ends: on the monotonic clock.
        form_key: what each of its forms must bring along.
    """

    token: str = field(repr=False)
    ends: float
    form_key: str = field(default_factory=secrets.token_urlsafe, repr=False)

    def owns(self, form_key: str) -> bool:
        """Whether a form was made for this session."""
        return hmac.compare_digest(form_key.encode(), self.form_key.encode())


class Sessions:
    """Sessions of one process; its end signs everybody out. Of too many the oldest go."""

    def __init__(self, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def open(self, token: str) -> str:
        """Begin a session; gives the key for the browser's cookie."""
        key = secrets.token_urlsafe(32)
        self._sessions[key] = Session(token, self._clock() + self.seconds)
        while len(self._sessions) > _MOST:
            self._sessions.popitem(last=False)
        return key

    def find(self, key: str) -> Session | None:
        """The session of a cookie, unless it has ended."""
        session = self._sessions.get(key)
        if session is not None and self._clock() > session.ends:
            self.close(key)
            return None
        return session

    def close(self, key: str) -> None:
        """End a session, if there is one."""
        self._sessions.pop(key, None)
