"""What is taken off embeddings: by every path from crop or map, as the manifest says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save

from shared.errors import InvalidModel
from shared.evaluation.unquantized import UnquantizedPipeline
from shared.evaluation.weights import weights_sha256
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import CodedMap, MapDecoder
from shared.inference.nuisances import Nuisances
from shared.model_directory import NUISANCE_FILE, ModelDirectory, write_model_directory
from tests.tiny_model import smooth_images

SIZE, COUNT = 512, 3
Vectors = NDArray[np.float32]


def _nuisances(seed: int = 0) -> tuple[Vectors, Vectors]:
    """A mean, and orthonormal directions."""
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.normal(size=(SIZE, COUNT)))[0].T
    return (random.normal(size=SIZE) / 60).astype(np.float32), directions.astype(np.float32)


Write = Callable[..., ModelDirectory]


@pytest.fixture
def write(tiny_model: ModelDirectory, tmp_path: Path) -> Write:
    """Writes the tiny model with a file of nuisances; None: without."""

    def written(content: bytes | None, *, count: int = COUNT, version: str = "2") -> ModelDirectory:
        changes = {"version": version, "nuisances": None if content is None else count}
        files = {name: (tiny_model.path / name).read_bytes() for name in tiny_model.manifest.files}
        if content is not None:
            files[NUISANCE_FILE] = content
        description = tiny_model.manifest.model_copy(update=changes)
        return write_model_directory(tmp_path, description=description, files=files)

    return written


@pytest.fixture
def crops() -> NDArray[np.uint8]:
    pixels = ((smooth_images(6, seed=8) + 1) * 127.5).round().byte()
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


def _maps(model: ModelDirectory, decoder: MapDecoder, crops: NDArray[np.uint8]) -> list[CodedMap]:
    encoder = OnnxCropEncoder(model, None)
    return [(encoder.codec_id, decoder.unpack(encoder.codec_id, p)) for p in encoder.encode(crops)]


def _expected(vectors: Vectors) -> Vectors:
    mean, directions = _nuisances()
    left = vectors - mean
    for direction in directions:
        left = left - np.outer(left @ direction, direction)
    unit: Vectors = left / np.linalg.norm(left, axis=1, keepdims=True)
    return unit


def test_every_way_to_an_embedding_leaves_them_out(
    tiny_model: ModelDirectory, write: Write, crops: NDArray[np.uint8]
) -> None:
    model = write(Nuisances(*_nuisances()).to_bytes())
    plain, cleared = MapDecoder(tiny_model), MapDecoder(model)
    maps = _maps(model, cleared, crops)
    before, lengths = plain.embed_with_lengths(maps)
    after, lengths_after = cleared.embed_with_lengths(maps)
    expected = _expected(before)
    assert np.abs(expected - before).max() > 0.01
    np.testing.assert_allclose(after, expected, atol=1e-5)
    np.testing.assert_allclose(lengths_after, lengths, rtol=1e-5)
    np.testing.assert_allclose(cleared.embed(maps), expected, atol=1e-5)
    np.testing.assert_allclose(cleared.embed_and_reconstruct(maps)[0], expected, atol=1e-5)
    np.testing.assert_allclose(
        cleared.embed_crops(crops), _expected(plain.embed_crops(crops)), atol=1e-5
    )
    faces = np.pad(crops, ((0, 0), (0, 0), (8, 8), (0, 0)))
    unrounded = [
        UnquantizedPipeline(each, "standard").embed([faces], total=6, progress=lambda *_: None)
        for each in (tiny_model, model)
    ]
    np.testing.assert_allclose(unrounded[1], _expected(unrounded[0]), atol=1e-5)


def test_they_make_another_embedding_space_of_the_same_codecs(
    tiny_model: ModelDirectory, write: Write
) -> None:
    spaces, digests = set(), set()
    for seed in range(2):
        model = write(Nuisances(*_nuisances(seed)).to_bytes(), version=f"2.{seed}")
        assert model.manifest.codecs == tiny_model.manifest.codecs
        spaces.add(model.manifest.embedding_space)
        digests.add(weights_sha256(model, None))
    assert len({tiny_model.manifest.embedding_space, *spaces}) == 3
    assert len({weights_sha256(tiny_model, None), *digests}) == 3
    assert write(None).manifest.embedding_space == tiny_model.manifest.embedding_space


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nonsense", "WEIGHTS_UNREADABLE"),
        (save({"mean": np.zeros(SIZE, np.float32)}), "WEIGHTS_MISMATCH"),
        (Nuisances(np.zeros(8, np.float32), np.eye(3, 8, dtype=np.float32)), "WEIGHTS_MISMATCH"),
        (Nuisances(_nuisances()[0], _nuisances()[1][:2]), "WEIGHTS_MISMATCH"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error(
    write: Write, content: bytes | Nuisances, reason: str
) -> None:
    model = write(content if isinstance(content, bytes) else content.to_bytes())
    with pytest.raises(InvalidModel) as refused:
        MapDecoder(model)
    assert refused.value.reason == reason
