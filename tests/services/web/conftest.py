"""The gateway before the services that all tests share."""

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from tests.services.hosting import Service, running_web


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def web(encoder: Service, recognizer: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway, which takes at most 1 MiB."""
    async with running_web(encoder, recognizer, max_upload_bytes=1 << 20) as client:
        yield client
