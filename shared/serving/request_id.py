"""Request ids shared by both services: accepted from the caller or generated, logged, returned.

Clients send one with every call. The uplink sends one with every map: that of the call in which
the map was made.
"""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog

from compactface.client.request_ids import REQUEST_ID, accepted
from shared.serving.interceptor import AroundInterceptor, Context, Method


class RequestIdInterceptor(AroundInterceptor):
    """Binds `request_id` for every log line of the call and returns it to the caller.

    An id that is not 1 to 128 printable ASCII characters without spaces is replaced by a new one;
    the response metadata holds the id used.
    """

    @asynccontextmanager
    async def around(self, method: Method, context: Context) -> AsyncIterator[None]:  # noqa: ARG002
        """Bind the id before the call. Each call has its own task, so it need not be unbound."""
        request_id = _given(context) or uuid.uuid4().hex
        structlog.contextvars.bind_contextvars(request_id=request_id)
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        yield


def current_request_id() -> str | None:
    """The id of the call that this task serves, for forwarding to the next service."""
    request_id: str | None = structlog.contextvars.get_contextvars().get("request_id")
    return request_id


@contextmanager
def logged_as(request_id: str) -> Iterator[None]:
    """Bind the id of a stream item; an invalid one is ignored."""
    if not accepted(request_id):
        yield
        return
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        yield


def _given(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID and isinstance(value, str) and accepted(value):
            return value
    return None
