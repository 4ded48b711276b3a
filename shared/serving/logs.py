"""Structured logs on standard error: one JSON object a line, or colours for people.

Both structlog and the standard library end in one handler, so that a library's warning looks
like one of ours. The C core of grpc writes lines of its own, past both of them. Tracebacks go
here and nowhere else, and never with the values of local variables: those may be photographs,
names or embeddings.
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

    Every line carries `timestamp` (UTC, ISO 8601), `level`, `logger`, `event`, and whatever is
    bound to structlog's context variables, `request_id` first of all.
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
        cache_logger_on_first_use=False,  # tests and reloads configure again
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
    """A thread that dies, of a library for instance, is logged like anything else."""
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
    # The default formatter of tracebacks prints local variables.
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
