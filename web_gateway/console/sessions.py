"""Console sessions: tokens stay in this process; the browser holds a random key."""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """The session of one signed-in browser.

    Attributes:
        token: bearer token for the services; "": none.
        ends: expiry on the monotonic clock.
        form_key: CSRF token of its forms.
    """

    token: str = field(repr=False)
    ends: float
    form_key: str = field(default_factory=secrets.token_urlsafe, repr=False)

    def owns(self, form_key: str) -> bool:
        """Whether a form's CSRF token is this session's."""
        return hmac.compare_digest(form_key.encode(), self.form_key.encode())


class Sessions:
    """In-memory sessions, which end with the process. If there are too many, the oldest end."""

    def __init__(self, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def open(self, token: str) -> str:
        """Create a session and return the key for the browser's cookie."""
        key = secrets.token_urlsafe(32)
        self._sessions[key] = Session(token, self._clock() + self.seconds)
        while len(self._sessions) > _MOST:
            self._sessions.popitem(last=False)
        return key

    def find(self, key: str) -> Session | None:
        """The session of a cookie, unless it has expired."""
        session = self._sessions.get(key)
        if session is not None and self._clock() > session.ends:
            self.close(key)
            return None
        return session

    def close(self, key: str) -> None:
        """End a session, if it exists."""
        self._sessions.pop(key, None)
