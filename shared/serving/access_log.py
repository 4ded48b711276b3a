"""One structured line for every finished call: what, how it ended, how long; never the payload."""

import logging
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from functools import partial

import grpc
import structlog

from shared.service.interceptor import AroundInterceptor, Context, Method
from shared.service.outcome import observe

_log = structlog.get_logger(__name__)


class AccessLogInterceptor(AroundInterceptor):
    """Logs "call" with method, code and duration_ms; the request id is bound already.

    Args:
        quiet: full names of services logged at debug level only: health is asked all the time.
    """

    def __init__(self, *, quiet: Collection[str]) -> None:
        self._quiet = frozenset(quiet)

    def around(self, method: Method, context: Context) -> AbstractAsyncContextManager[None]:
        """Log at the end."""
        return observe(context, partial(self._record, method))

    def _record(self, method: Method, code: grpc.StatusCode, seconds: float) -> None:
        _log.log(
            logging.DEBUG if method.service in self._quiet else logging.INFO,
            "call",
            method=f"{method.service}/{method.name}",
            code=code.name,
            duration_ms=round(seconds * 1000, 2),
        )
