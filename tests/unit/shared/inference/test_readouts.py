"""What maps add to the embeddings of their pictures: by every path, as the manifest says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.numpy import save

from shared.codec.compact_map import dequantize
from shared.errors import InvalidModel
from shared.evaluation.unquantized import UnquantizedPipeline
from shared.evaluation.weights import weights_sha256
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import CodedMap, MapDecoder
from shared.inference.readouts import Readouts
from shared.model_directory import (
    READOUT_FILE,
    ModelDirectory,
    write_model_directory,
)
from tests.tiny_model import describe, smooth_images

SIZE, POINT, OTHER = 512, "standard", "paper"
Floats = NDArray[np.float32]
Write = Callable[..., ModelDirectory]


def _tensors(model: ModelDirectory, seed: int = 0) -> tuple[Floats, Floats]:
    """Weights and bias."""
    random = np.random.default_rng(seed)
    sent = model.codec(POINT).map_format.sent
    weight = random.normal(size=(sent, SIZE)).astype(np.float32) / np.float32(sent)
    return weight, random.normal(size=SIZE).astype(np.float32) / 20


def _readouts(model: ModelDirectory, seed: int = 0) -> Readouts:
    return Readouts({POINT: _tensors(model, seed)})


@pytest.fixture
def write(tiny_model: ModelDirectory, tmp_path: Path) -> Write:
    """Writes the tiny model with a file of readouts."""

    def written(content: bytes, *, version: str = "2") -> ModelDirectory:
        files = {name: (tiny_model.path / name).read_bytes() for name in tiny_model.manifest.files}
        changes = {"version": version, "readouts": (POINT,)}
        description = tiny_model.manifest.model_copy(update=changes)
        return write_model_directory(
            tmp_path, description=description, files=files | {READOUT_FILE: content}
        )

    return written


@pytest.fixture
def crops() -> NDArray[np.uint8]:
    pixels = ((smooth_images(6, seed=8) + 1) * 127.5).round().byte()
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


def _maps(
    model: ModelDirectory, decoder: MapDecoder, crops: NDArray[np.uint8], point: str
) -> list[CodedMap]:
    encoder = OnnxCropEncoder(model, point)
    return [(encoder.codec_id, decoder.unpack(encoder.codec_id, p)) for p in encoder.encode(crops)]


def _expected(model: ModelDirectory, vectors: Floats, latents: Floats) -> Floats:
    weight, bias = _tensors(model)
    seen = latents.reshape(len(latents), -1)[:, : len(weight)]
    summed = vectors + seen @ weight.astype(np.float16).astype(np.float32) + bias
    unit: Floats = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    return unit


def test_maps_of_a_point_with_a_readout_add_to_their_pictures(
    tiny_model: ModelDirectory, write: Write, crops: NDArray[np.uint8]
) -> None:
    model = write(_readouts(tiny_model).to_bytes())
    plain, read = MapDecoder(tiny_model), MapDecoder(model)
    maps, others = (_maps(model, read, crops, point) for point in (POINT, OTHER))
    mixed = [each for pair in zip(maps, others, strict=True) for each in pair]
    before, lengths = plain.embed_with_lengths(mixed)
    after, lengths_after = read.embed_with_lengths(mixed)
    latents = dequantize(np.stack([m for _, m in maps]), model.codec(POINT).map_format)
    expected = _expected(model, before[::2], latents)
    assert np.abs(expected - before[::2]).max() > 0.01
    np.testing.assert_allclose(after[::2], expected, atol=1e-4)
    np.testing.assert_array_equal(after[1::2], before[1::2])
    np.testing.assert_array_equal(lengths_after, lengths)
    np.testing.assert_allclose(read.embed(maps), expected, atol=1e-4)
    np.testing.assert_allclose(read.embed_and_reconstruct(maps)[0], expected, atol=1e-4)
    np.testing.assert_array_equal(read.embed_crops(crops), plain.embed_crops(crops))
    assert read.embed([]).shape == (0, SIZE)


def test_without_rounding_the_latents_are_read(
    tiny_model: ModelDirectory, write: Write, crops: NDArray[np.uint8]
) -> None:
    model = write(_readouts(tiny_model).to_bytes())
    faces = np.pad(crops, ((0, 0), (0, 0), (8, 8), (0, 0)))
    before, after = (
        UnquantizedPipeline(each, POINT).embed([faces], total=6, progress=lambda *_: None)
        for each in (tiny_model, model)
    )
    latents = OnnxCropEncoder(model, POINT).latents(crops)
    np.testing.assert_allclose(after, _expected(model, before, latents), atol=1e-4)


def test_they_make_another_embedding_space_of_the_same_codecs(
    tiny_model: ModelDirectory, write: Write
) -> None:
    models = [
        write(_readouts(tiny_model, seed).to_bytes(), version=f"2.{seed}") for seed in range(2)
    ]
    assert all(each.manifest.codecs == tiny_model.manifest.codecs for each in models)
    every = [tiny_model, *models]
    assert len({each.manifest.embedding_space for each in every}) == 3
    assert len({weights_sha256(each, None) for each in every}) == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nonsense", "WEIGHTS_UNREADABLE"),
        (save({"standard.bias": np.zeros(SIZE, np.float16)}), "WEIGHTS_MISMATCH"),
        (
            Readouts({POINT: (np.zeros((7, SIZE), np.float32), np.zeros(SIZE, np.float32))}),
            "WEIGHTS_MISMATCH",
        ),
        (
            Readouts({OTHER: (np.zeros((504, SIZE), np.float32), np.zeros(SIZE, np.float32))}),
            "WEIGHTS_MISMATCH",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_an_error(
    write: Write, content: bytes | Readouts, reason: str
) -> None:
    model = write(content if isinstance(content, bytes) else content.to_bytes())
    with pytest.raises(InvalidModel) as refused:
        MapDecoder(model)
    assert refused.value.reason == reason


def test_a_manifest_names_readouts_of_its_points_only() -> None:
    assert describe(readouts=(POINT,)).readouts == (POINT,)
    with pytest.raises(ValidationError, match="readouts name 'sharp'"):
        describe(readouts=("sharp",))
