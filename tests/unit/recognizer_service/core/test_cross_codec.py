"""Maps of another model version are decoded by it and embedded by ours."""

from pathlib import Path

import numpy as np
import pytest

from recognizer_service.core.changeover import CrossCodecEmbedder
from shared.codec.compact_map import pack
from shared.errors import InvalidCompactMap, UnknownCodec
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory
from tests.tiny_model import FAMILY, write_tiny_model

MapOf = tuple[str, bytes]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2, whose networks differ."""
    folder = tmp_path_factory.mktemp("models")
    for version in ("1", "2"):
        scratch = tmp_path_factory.mktemp("scratch")
        write_tiny_model(folder, scratch, version=version, seed=int(version))
    return folder


@pytest.fixture(scope="module")
def old(models: Path) -> MapDecoder:
    return MapDecoder(ModelDirectory.load(models, FAMILY, "1"))


@pytest.fixture(scope="module")
def new(models: Path) -> MapDecoder:
    return MapDecoder(ModelDirectory.load(models, FAMILY, "2"))


def some_map(decoder: MapDecoder, point: str, seed: int) -> MapOf:
    codec = decoder.model.codec(point)
    fmt = codec.map_format
    symbols = np.random.default_rng(seed).integers(0, fmt.levels, fmt.shape, np.uint8)
    return codec.codec_id, pack(symbols, fmt)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b)


def test_maps_of_our_own_codecs_are_embedded_as_ever(new: MapDecoder) -> None:
    maps = [some_map(new, point, seed) for seed in range(3) for point in ("standard", "paper")]
    embedded = CrossCodecEmbedder(new).embed(maps)
    directly = new.embed([(codec, new.unpack(codec, png)) for codec, png in maps])
    assert np.abs(embedded - directly).max() < 1e-5


def test_maps_of_another_version_are_painted_by_it_and_embedded_by_ours(
    old: MapDecoder, new: MapDecoder
) -> None:
    maps = [some_map(old, "standard", 1), some_map(new, "standard", 2), some_map(old, "paper", 3)]
    embedded = CrossCodecEmbedder(new).embed(maps)
    for (codec, png), vector in zip(maps, embedded, strict=True):
        painter = old if codec in old.formats else new
        crop = painter.reconstruct([(codec, painter.unpack(codec, png))])
        assert cosine(vector, new.embed_crops(crop)[0]) > 0.99
    assert cosine(embedded[0], old.embed([(maps[0][0], old.unpack(*maps[0]))])[0]) < 0.9


def test_a_codec_that_no_version_has_is_named(new: MapDecoder) -> None:
    with pytest.raises(UnknownCodec, match="feedfacefeedface"):
        CrossCodecEmbedder(new).require(["feedfacefeedface"])


def test_a_damaged_version_is_passed_over(old: MapDecoder, tmp_path: Path) -> None:
    """What only it could decode is then unknown, and nothing else is."""
    for version in ("1", "2"):
        scratch = tmp_path / f"scratch-{version}"
        write_tiny_model(tmp_path / "models", scratch, version=version, seed=int(version))
    weights = tmp_path / "models" / FAMILY / "1" / "extractor.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    ours = MapDecoder(ModelDirectory.load(tmp_path / "models", FAMILY, "2"))
    with pytest.raises(UnknownCodec):
        CrossCodecEmbedder(ours).require(old.formats)
    CrossCodecEmbedder(ours).require(ours.formats)


def test_a_stored_map_that_is_none_is_refused(old: MapDecoder, new: MapDecoder) -> None:
    codec, png = some_map(old, "standard", 1)
    with pytest.raises(InvalidCompactMap):
        CrossCodecEmbedder(new).embed([(codec, png[:-1])])
