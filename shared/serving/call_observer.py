"""How a call ended, for metrics and the access log."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc

from shared.service.deadline import remaining_seconds
from shared.service.interceptor import Context

# A client that gives up at its deadline cancels a little before ours has passed.
_DEADLINE_SLACK_S = 0.05


@asynccontextmanager
async def observe(
    context: Context, report: Callable[[grpc.StatusCode, float], None]
) -> AsyncIterator[None]:
    """Report the final status code and the duration in seconds, once, however the call ends."""
    started = time.perf_counter()
    try:
        yield
    except BaseException as error:
        report(_code(context, error), time.perf_counter() - started)
        raise
    report(context.code() or grpc.StatusCode.OK, time.perf_counter() - started)


def _code(context: Context, error: BaseException) -> grpc.StatusCode:
    if not isinstance(error, asyncio.CancelledError):
        return context.code() or grpc.StatusCode.UNKNOWN
    left = remaining_seconds(context)
    if left is not None and left <= _DEADLINE_SLACK_S:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.CANCELLED
