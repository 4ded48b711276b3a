"""Cameras write embeddings into maps, and maps add them to their pictures: by every path."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.numpy import save

from shared.codec.compact_map import dequantize, unpack
from shared.errors import InvalidModel
from shared.evaluation.pipeline import Pipeline
from shared.evaluation.unquantized import UnquantizedPipeline
from shared.evaluation.weights import weights_sha256
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import CodedMap, MapDecoder
from shared.inference.readouts import Readout, Readouts
from shared.inference.torch_crop_encoder import TorchCropEncoder
from shared.model_directory import (
    ModelDirectory,
    write_model_directory,
)
from tests.tiny_model import describe, smooth_images
from tests.tiny_readouts import (
    POINT,
    SIZE,
    USE,
    Floats,
    random_readout,
    readouts_of,
    write_with_readouts,
)

OTHER = "paper"
Write = Callable[..., ModelDirectory]


@pytest.fixture
def write(tiny_model: ModelDirectory, tmp_path: Path) -> Write:
    """Writes the tiny model with a file of readouts."""
    return partial(write_with_readouts, tiny_model, tmp_path)


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
    readout = random_readout(model)
    weight, bias = readout.weight, readout.bias
    seen = latents.reshape(len(latents), -1)[:, : len(weight)]
    estimate = seen @ weight.astype(np.float16).astype(np.float32) + bias
    summed = vectors + np.float32(USE.share) * estimate
    unit: Floats = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    return unit


def test_maps_of_a_point_with_a_readout_add_to_their_pictures(
    tiny_model: ModelDirectory, write: Write, crops: NDArray[np.uint8]
) -> None:
    model = write(readouts_of(tiny_model).to_bytes())
    plain, read = MapDecoder(tiny_model), MapDecoder(model)
    maps, others = (_maps(model, read, crops, point) for point in (POINT, OTHER))
    mixed = [each for pair in zip(maps, others, strict=True) for each in pair]
    unread = {model.codec(p).codec_id: tiny_model.codec(p).codec_id for p in (POINT, OTHER)}
    before, lengths = plain.embed_with_lengths([(unread[codec], each) for codec, each in mixed])
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


def test_what_speaks_of_somebody_else_than_the_picture_is_not_heard(
    tiny_model: ModelDirectory, write: Write, crops: NDArray[np.uint8]
) -> None:
    """A forged map: the picture of one person, the embedding of another."""
    believing = write(readouts_of(tiny_model).to_bytes())
    maps = _maps(believing, MapDecoder(believing), crops, POINT)
    codec = tiny_model.codec(POINT)
    pictures = MapDecoder(tiny_model).embed([(codec.codec_id, each) for _, each in maps])
    readout = random_readout(tiny_model)
    weight, bias = readout.weight, readout.bias
    latents = dequantize(np.stack([m for _, m in maps]), codec.map_format).reshape(len(maps), -1)
    estimates = latents[:, : len(weight)] @ weight.astype(np.float16) + bias
    similar = (pictures * estimates).sum(1) / np.linalg.norm(estimates, axis=1)
    limit = float(np.median(similar))
    use = USE.model_copy(update={"agreement": limit})
    doubting = write(readouts_of(tiny_model).to_bytes(), version="3", use=use)
    heard = MapDecoder(doubting).embed([(doubting.codec(POINT).codec_id, m) for _, m in maps])
    agreeing = similar >= limit
    assert 0 < agreeing.sum() < len(maps)
    np.testing.assert_allclose(heard[~agreeing], pictures[~agreeing], atol=1e-5)
    np.testing.assert_allclose(
        heard, np.where(agreeing[:, None], MapDecoder(believing).embed(maps), pictures), atol=1e-4
    )


def test_without_rounding_there_is_no_readout(
    tiny_model: ModelDirectory, write: Write, crops: NDArray[np.uint8]
) -> None:
    model = write(readouts_of(tiny_model).to_bytes())
    faces = np.pad(crops, ((0, 0), (0, 0), (8, 8), (0, 0)))
    before, after = (
        UnquantizedPipeline(each, POINT).embed([faces], total=6, progress=lambda *_: None)
        for each in (tiny_model, model)
    )
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("changes", [{}, {"mirrored": True}])
def test_cameras_round_towards_the_embedding(
    tiny_model: ModelDirectory,
    write: Write,
    crops: NDArray[np.uint8],
    changes: dict[str, bool],
) -> None:
    extractor = tiny_model.manifest.extractor.model_copy(update=changes)
    model = write(readouts_of(tiny_model).to_bytes(), extractor=extractor)
    wanted = MapDecoder(model).embed_crops(crops)
    fmt = model.codec(POINT).map_format
    readouts = Readouts.of_model(model)
    assert readouts is not None
    errors = []
    for each in (tiny_model, model):
        encoder = OnnxCropEncoder(each, POINT)
        maps = np.stack([unpack(png, fmt) for png in encoder.encode(crops)])
        found = readouts.of_points[POINT].estimate(dequantize(maps, fmt))
        errors.append(((found - wanted) ** 2).sum(1))
    before, after = errors
    assert (after < before).all()
    on_torch = TorchCropEncoder(model, POINT)
    np.testing.assert_allclose(on_torch.embeddings(crops), wanted, atol=1e-5)
    assert (encoder.symbols(crops) != on_torch.symbols(crops)).mean() < 1e-3
    # Points without a readout do not know of it.
    assert OnnxCropEncoder(model, OTHER).encode(crops) == OnnxCropEncoder(tiny_model, OTHER).encode(
        crops
    )
    assert OnnxCropEncoder(model, OTHER).embeddings(crops) is None


def test_both_points_of_a_pipeline_are_what_cameras_make(
    tiny_model: ModelDirectory, write: Write, crops: NDArray[np.uint8]
) -> None:
    """It computes latents and embeddings once for points that share them."""
    model = write(readouts_of(tiny_model).to_bytes())
    decoder = MapDecoder(model, precision="auto")
    faces = np.pad(crops, ((0, 0), (0, 0), (8, 8), (0, 0)))
    for points in ((OTHER, POINT), (POINT, OTHER)):
        seen = Pipeline(model, points).embed_batch(faces).own
        for point in points:
            expected = decoder.embed(_maps(model, decoder, crops, point))
            np.testing.assert_allclose(seen[point], expected, atol=1e-5)


def test_readouts_make_another_embedding_space_and_other_maps(
    tiny_model: ModelDirectory, write: Write
) -> None:
    """Maps that mean something else have another codec id; those of other points keep theirs."""
    made = [
        write(readouts_of(tiny_model, seed).to_bytes(), version=f"2.{n}", use=use)
        for n, (seed, use) in enumerate(
            [
                (0, USE),
                (1, USE),
                (0, USE.model_copy(update={"share": 0.7})),
                (0, USE.model_copy(update={"distortion": 0.02})),
            ]
        )
    ]
    first, other, heavier, coarser = (each.manifest for each in made)
    assert {m.codecs[OTHER].codec_id for m in (tiny_model.manifest, first, other)} == {
        tiny_model.codec(OTHER).codec_id
    }
    ids = [m.codecs[POINT].codec_id for m in (tiny_model.manifest, first, other, coarser)]
    assert len({*ids}) == len(ids)
    assert heavier.codecs == first.codecs
    assert first.crops_space == other.crops_space == tiny_model.manifest.embedding_space
    spaces = [m.embedding_space for m in (tiny_model.manifest, first, other, heavier)]
    assert len({*spaces}) == len(spaces)
    assert coarser.embedding_space == first.embedding_space
    assert len({weights_sha256(each, None) for each in (tiny_model, *made[:2])}) == 3


def test_maps_rounded_by_another_readout_are_read_not_made(
    tiny_model: ModelDirectory, write: Write, tmp_path: Path
) -> None:
    earlier = write(readouts_of(tiny_model).to_bytes())
    codecs = {**tiny_model.manifest.codecs, "standard-2": earlier.codec(POINT)}
    codecs["standard-2"] = codecs["standard-2"].model_copy(update={"networks": POINT})
    files = {name: (tiny_model.path / name).read_bytes() for name in tiny_model.manifest.files}
    changes = {"version": "3", "codecs": codecs}
    description = tiny_model.manifest.model_copy(update=changes)
    later = write_model_directory(tmp_path, description=description, files=files)
    assert later.codec("standard-2").codec_id == earlier.codec(POINT).codec_id
    assert later.manifest.encodable == tiny_model.manifest.encodable
    with pytest.raises(InvalidModel) as refused:
        OnnxCropEncoder(later, "standard-2")
    assert refused.value.reason == "DECODE_ONLY"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nonsense", "WEIGHTS_UNREADABLE"),
        (save({"standard.bias": np.zeros(SIZE, np.float16)}), "WEIGHTS_MISMATCH"),
        (
            Readouts(
                {POINT: Readout(np.zeros((7, SIZE), np.float32), np.zeros(SIZE, np.float32))}, {}
            ),
            "WEIGHTS_MISMATCH",
        ),
        (
            Readouts(
                {OTHER: Readout(np.zeros((504, SIZE), np.float32), np.zeros(SIZE, np.float32))}, {}
            ),
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
    assert describe(readouts={POINT: USE}).readouts == {POINT: USE}
    with pytest.raises(ValidationError, match="readouts name 'sharp'"):
        describe(readouts={"sharp": USE})
