"""Observe the status and duration of calls, for metrics and the access log."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import grpc
import structlog

from shared.serving.interceptor import AroundInterceptor, Context, Method, remaining_seconds

# A client that gives up at its deadline cancels slightly before the server's deadline passes.
_DEADLINE_SLACK_S = 0.05


@asynccontextmanager
async def observe(
    context: Context, report: Callable[[grpc.StatusCode, float], None]
) -> AsyncIterator[None]:
    """Report the final status code and the duration in seconds, exactly once per call."""
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


_log = structlog.get_logger(__name__)


class AccessLogInterceptor(AroundInterceptor):
    """Logs "call" with method, code and duration_ms; the request id is already bound.

    Args:
        quiet: full names of services logged at debug level, such as health, which is polled.
    """

    def __init__(self, *, quiet: Collection[str]) -> None:
        self._quiet = frozenset(quiet)

    def around(self, method: Method, context: Context) -> AbstractAsyncContextManager[None]:
        """Log the call when it ends."""
        return observe(context, partial(self._record, method))

    def _record(self, method: Method, code: grpc.StatusCode, seconds: float) -> None:
        _log.log(
            logging.DEBUG if method.service in self._quiet else logging.INFO,
            "call",
            method=f"{method.service}/{method.name}",
            code=code.name,
            duration_ms=round(seconds * 1000, 2),
        )
