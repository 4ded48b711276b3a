"""Metadata of calls: the request id and the bearer token."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

REQUEST_ID = "x-request-id"
"""Metadata key in requests and in the trailing metadata of responses."""

_AUTHORIZATION = "authorization"
_ACCEPTED = re.compile(r"[!-~]{1,128}")
_current: ContextVar[str] = ContextVar("compactface_request_id")


def accepted(value: str) -> bool:
    """Whether the services accept the id: 1 to 128 printable ASCII characters, no spaces."""
    return _ACCEPTED.fullmatch(value) is not None


@contextmanager
def request_id(value: str) -> Iterator[None]:
    """Send one request id with all calls in the block; both services log it.

    ::

        with request_id("door-7/42"):
            face = encoder.encode(photo).faces[0]
            answer = recognizer.identify(face.map)

    Other calls have a unique id each, which `RequestFailed.request_id` holds.

    Args:
        value: 1 to 128 printable ASCII characters without spaces.

    Raises:
        ValueError: the value is invalid.
    """
    if not accepted(value):
        raise ValueError(
            f"request id is {value!r:.200}; it must be 1 to 128 printable ASCII characters "
            "without spaces"
        )
    token = _current.set(value)
    try:
        yield
    finally:
        _current.reset(token)


def call_metadata(token: str = "") -> tuple[tuple[str, str], ...]:
    """Metadata of a new call: request id and bearer token."""
    credential = ((_AUTHORIZATION, f"Bearer {token}"),) if token else ()
    return ((REQUEST_ID, _current.get(None) or uuid.uuid4().hex), *credential)
