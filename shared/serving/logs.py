"""Structured logs on standard error: one JSON object per line, or colored text.

structlog and the standard library share one handler, so that warnings of libraries have the same
format. The C core of grpc bypasses it and writes its own lines. Tracebacks appear only in logs,
and never with the values of local variables, which may be photographs, names or embeddings.
"""

import logging
import sys
import threading
from typing import Literal, TextIO

import structlog
from structlog.typing import Processor


def configure_logging(
    *,
    log_format: Literal["json", "console"] = "json",
    log_level: Literal["debug", "info", "warning", "error"] = "info",
    stream: TextIO | None = None,
) -> None:
    """Route structlog and the standard library to `stream` (standard error by default).

    Every line has `timestamp` (UTC, ISO 8601), `level`, `logger`, `event`, and the values bound to
    structlog's context variables, such as `request_id`.
    """
    common = _common_processors()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # tests and reloads configure logging again
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(log_format),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=log_level.upper(), force=True)
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_thread


def _log_thread(failure: threading.ExceptHookArgs) -> None:
    """Log an exception that ends a thread, such as a library's."""
    logging.getLogger("threading").error(
        "thread %s failed",
        failure.thread.name if failure.thread else "",
        exc_info=failure.exc_value,
    )


def _common_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(log_format: Literal["json", "console"]) -> list[Processor]:
    if log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # The default traceback formatter prints local variables.
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
