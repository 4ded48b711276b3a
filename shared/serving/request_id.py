"""A request id that crosses both services: taken from the caller or made, logged, returned.

The clients send one with every call, and the uplink one with every map: that of the call which the
map was made in.
"""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog

from compactface.client.request_ids import REQUEST_ID, accepted
from shared.serving.interceptor import AroundInterceptor, Context, Method


class RequestIdInterceptor(AroundInterceptor):
    """Binds `request_id` for every log line of the call and returns it to the caller.

    An id that is not 1..128 printable ASCII characters without spaces is replaced by a new
    one: the caller reads in the answer under which id its call is logged.
    """

    @asynccontextmanager
    async def around(self, method: Method, context: Context) -> AsyncIterator[None]:  # noqa: ARG002
        """Bind before the call. Each call has its own task, so nothing needs unbinding."""
        request_id = _given(context) or uuid.uuid4().hex
        structlog.contextvars.bind_contextvars(request_id=request_id)
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        yield


def current_request_id() -> str | None:
    """The id of the call being served by this task, to pass on to the next service."""
    request_id: str | None = structlog.contextvars.get_contextvars().get("request_id")
    return request_id


@contextmanager
def logged_as(request_id: str) -> Iterator[None]:
    """Bind the id that an item of a stream brought; one that is not acceptable is ignored."""
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
