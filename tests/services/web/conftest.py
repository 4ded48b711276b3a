"""A recognizer behind the gateway."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.services.asking import CAMERAS
from tests.services.hosting import Service, running_recognizer


@pytest_asyncio.fixture(loop_scope="session")
async def service(tiny_models: Path, tmp_path: Path) -> AsyncIterator[Service]:
    """A recognizer that takes streamed maps into the collection `CAMERAS`."""
    gallery = tmp_path / "gallery.sqlite"
    async with running_recognizer(tiny_models, gallery, stream_collection=CAMERAS) as running:
        yield running
