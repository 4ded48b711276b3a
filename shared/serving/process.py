"""A service as a process: logging, metrics of the process itself, and the event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from shared.serving.logs import configure_logging
from shared.serving.process_settings import ProcessSettings

Settings = TypeVar("Settings", bound=ProcessSettings)


def run_process(
    run: Callable[[Settings, CollectorRegistry], Awaitable[None]], settings: Settings
) -> None:
    """Run a service until it ends; logs go to standard error."""
    configure_logging(log_format=settings.log_format, log_level=settings.log_level)
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)

    async def serve() -> None:
        await run(settings, registry)

    asyncio.run(serve())
