"""Run a service as a process: logging, process metrics and the event loop."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry

from shared.serving.logs import configure_logging
from shared.serving.process_metrics import process_registry
from shared.serving.process_settings import ProcessSettings

_THREADS_PATIENCE_S = 0.5

Settings = TypeVar("Settings", bound=ProcessSettings)


def run_process(
    run: Callable[[Settings, CollectorRegistry], Awaitable[None]], settings: Settings
) -> None:
    """Run a service until it ends; logs go to standard error.

    Exiting does not wait for threads that still run abandoned work.
    """
    configure_logging(log_format=settings.log_format, log_level=settings.log_level)
    registry = process_registry(settings)

    async def serve() -> None:
        await run(settings, registry)

    asyncio.run(serve())
    if _threads_left():
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # a normal exit would wait for them


def _threads_left() -> bool:
    others = [
        thread
        for thread in threading.enumerate()
        if thread is not threading.current_thread() and not thread.daemon
    ]
    for thread in others:
        thread.join(_THREADS_PATIENCE_S / len(others))
    return any(thread.is_alive() for thread in others)
