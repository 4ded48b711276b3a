"""The real encoder and the real recognizer, shared by the tests of a session, and what to ask."""

import io
import socket
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image, ImageEnhance

from compactface.v1 import encoder_pb2, gallery_pb2
from compactface.v1.compact_map_pb2 import CompactMap
from tests.services.asking import CAMERAS, crop_map
from tests.services.hosting import Service, running_encoder, running_recognizer
from tests.tiny_model import write_tiny_model

PHOTOS = Path(__file__).parents[1] / "data"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def encoder(tiny_models: Path) -> AsyncIterator[Service]:
    """An encoder without uplink."""
    async with running_encoder(tiny_models) as service:
        yield service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def recognizer(tiny_models: Path, gallery_of_all: Path) -> AsyncIterator[Service]:
    """A recognizer with limits that tests can reach; tests bring collections of their own."""
    async with running_recognizer(tiny_models, gallery_of_all, max_batch_items=4) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def service(tiny_models: Path, tmp_path: Path) -> AsyncIterator[Service]:
    """A recognizer that takes streamed maps into the collection `CAMERAS`."""
    gallery = tmp_path / "gallery.sqlite"
    async with running_recognizer(tiny_models, gallery, stream_collection=CAMERAS) as running:
        yield running


@pytest.fixture(scope="session")
def shifted_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks of `tiny_models` with thresholds 0.5 too low, as for other people."""
    models = tmp_path_factory.mktemp("shifted")
    shifted = dict.fromkeys([("standard", "standard")], 0.5)
    write_tiny_model(models, tmp_path_factory.mktemp("scratch"), lowered_by=shifted)
    return models


@pytest.fixture
def two_models(tmp_path: Path) -> Path:
    """Versions 1, which is current, and 2: the same codecs, and different extractors."""
    models = tmp_path / "models"
    for version, extractor_seed in (("2", 1), ("1", 0)):
        scratch = tmp_path / f"scratch-{version}"
        write_tiny_model(models, scratch, version=version, extractor_seed=extractor_seed)
    return models


@pytest.fixture(scope="session")
def gallery_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the gallery that `recognizer` has open."""
    return tmp_path_factory.mktemp("gallery") / "gallery.sqlite"


@pytest_asyncio.fixture(loop_scope="session")
async def collection(recognizer: Service) -> str:
    """A new, empty collection."""
    name = f"test-{uuid.uuid4()}"
    await recognizer.gallery.CreateCollection(
        gallery_pb2.CreateCollectionRequest(collection=gallery_pb2.Collection(collection_id=name))
    )
    return name


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens yet."""
    return unused_port()


def unused_port() -> int:
    """A port on which nobody listens yet."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """The photographs by name, one face each."""
    return {path.stem: path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def maps(encoder: Service, photos: dict[str, bytes]) -> dict[str, CompactMap]:
    """The compact map of the face in each photograph."""
    return {
        name: (await encoder.encoder.Encode(encoder_pb2.EncodeRequest(image=image))).faces[0].map
        for name, image in photos.items()
    }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def people(encoder: Service) -> list[CompactMap]:
    """Maps of 16 crops of coloured clouds: the networks of the tests set them far apart."""
    return [await crop_map(encoder, clouds(seed)) for seed in range(16)]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def again(encoder: Service) -> list[CompactMap]:
    """The same people in other pictures: darker, and with less contrast."""
    return [await crop_map(encoder, clouds(seed, darker=0.9)) for seed in range(16)]


def clouds(seed: int, *, darker: float = 1) -> bytes:
    """A crop of coloured clouds as a PNG file."""
    coarse = np.random.default_rng(seed).integers(0, 256, (21, 18, 3), np.uint8)
    crop = Image.fromarray(coarse).resize((96, 112), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    ImageEnhance.Brightness(crop).enhance(darker).save(file, "PNG")
    return file.getvalue()
