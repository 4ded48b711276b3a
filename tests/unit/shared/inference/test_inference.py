"""Crops become maps and maps become embeddings, whatever runtime, codec or batch they meet."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from shared.codec.compact_map import quantize, unpack
from shared.errors import (
    FailedPrecondition,
    InvalidCompactMap,
    InvalidInput,
    InvalidModel,
    UnknownCodec,
)
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.device import arithmetic, open_device
from shared.inference.map_decoder import MAX_BATCH, CodedMap, MapDecoder
from shared.inference.networks import load_extractor, without_python
from shared.inference.torch_crop_encoder import TorchCropEncoder
from shared.model_directory import ModelDirectory, publish_results
from shared.training.export import TrainedCodec, export_model
from tests.tiny_model import describe, smooth_images, synthetic_table, tiny_networks

Crops = NDArray[np.uint8]
POINTS = ("standard", "paper")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def crops() -> Crops:
    """Ten different pictures, (10, 112, 96, 3)."""
    pixels = ((smooth_images(10, seed=5) + 1) * 127.5).round().byte()
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


@pytest.fixture(scope="module")
def decoder(tiny_model: ModelDirectory) -> MapDecoder:
    return MapDecoder(tiny_model)


def _maps(model: ModelDirectory, point: str, decoder: MapDecoder, crops: Crops) -> list[CodedMap]:
    encoder = OnnxCropEncoder(model, point)
    return [
        (encoder.codec_id, decoder.unpack(encoder.codec_id, png)) for png in encoder.encode(crops)
    ]


@pytest.mark.parametrize("point", POINTS)
def test_onnx_runtime_and_torch_make_the_same_maps(
    tiny_model: ModelDirectory, crops: Crops, point: str
) -> None:
    onnx, by_torch = OnnxCropEncoder(tiny_model, point), TorchCropEncoder(tiny_model, point)
    assert onnx.codec_id == by_torch.codec_id == tiny_model.codec(point).codec_id
    np.testing.assert_allclose(onnx.latents(crops), by_torch.latents(crops), atol=1e-5)
    fmt = onnx.map_format
    pairs = zip(onnx.encode(crops), by_torch.encode(crops), strict=True)
    different = np.mean([unpack(a, fmt) != unpack(b, fmt) for a, b in pairs])
    assert different < 1e-3


@pytest.mark.parametrize("point", POINTS)
def test_a_png_holds_the_quantized_latent(
    tiny_model: ModelDirectory, crops: Crops, point: str
) -> None:
    encoder = OnnxCropEncoder(tiny_model, point)
    latents = encoder.latents(crops[:2])
    assert latents.shape == (2, *encoder.map_format.shape)
    for latent, png in zip(latents, encoder.encode(crops[:2]), strict=True):
        symbols = unpack(png, encoder.map_format)
        np.testing.assert_array_equal(symbols, quantize(latent, encoder.map_format.levels))


def test_more_crops_than_one_batch_keep_their_order(
    tiny_model: ModelDirectory, crops: Crops
) -> None:
    encoder = OnnxCropEncoder(tiny_model)
    many = np.tile(crops, (7, 1, 1, 1))
    np.testing.assert_allclose(
        encoder.latents(many), np.tile(encoder.latents(crops), (7, 1, 1, 1)), atol=1e-5
    )


def test_nothing_in_nothing_out(tiny_model: ModelDirectory, decoder: MapDecoder) -> None:
    no_crops = np.empty((0, 112, 96, 3), np.uint8)
    assert OnnxCropEncoder(tiny_model).encode(no_crops) == []
    assert decoder.embed([]).shape == decoder.embed_crops(no_crops).shape == (0, 512)
    assert decoder.reconstruct([]).shape == (0, 112, 96, 3)


def test_the_encoder_side_loads_without_torch(tiny_models: Path) -> None:
    program = f"""
import sys
import numpy as np
from pathlib import Path
sys.modules["torch"] = None
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.model_directory import ModelDirectory
encoder = OnnxCropEncoder(ModelDirectory.load(Path({str(tiny_models)!r}), "default"))
print(len(encoder.encode(np.zeros((2, 112, 96, 3), np.uint8))))
"""
    run = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert run.stdout == "2\n", run.stderr


@pytest.mark.parametrize("point", POINTS)
def test_embeddings_are_unit_vectors_that_tell_pictures_apart(
    tiny_model: ModelDirectory, decoder: MapDecoder, crops: Crops, point: str
) -> None:
    embeddings = decoder.embed(_maps(tiny_model, point, decoder, crops))
    assert embeddings.shape == (10, decoder.embedding_size)
    assert embeddings.dtype == np.float32
    similarity = embeddings @ embeddings.T
    np.testing.assert_allclose(similarity.diagonal(), 1, atol=1e-5)
    assert similarity[~np.eye(10, dtype=bool)].max() < 0.5


def test_two_codecs_of_a_model_meet_in_one_embedding_space(
    tiny_model: ModelDirectory, decoder: MapDecoder, crops: Crops
) -> None:
    standard, paper = (decoder.embed(_maps(tiny_model, point, decoder, crops)) for point in POINTS)
    for other in (paper, decoder.embed_crops(crops)):
        assert ((standard @ other.T).argmax(1) == np.arange(10)).all()


def test_what_else_is_in_a_batch_changes_nothing(
    tiny_model: ModelDirectory, decoder: MapDecoder, crops: Crops
) -> None:
    """One by one, mixed with another codec, and in a list longer than a batch."""
    standard = _maps(tiny_model, "standard", decoder, crops)
    paper = _maps(tiny_model, "paper", decoder, crops)
    alone = np.concatenate([decoder.embed([one]) for one in standard])
    mixed = [one for pair in zip(standard, paper, strict=True) for one in pair]
    np.testing.assert_allclose(decoder.embed(mixed)[::2], alone, atol=1e-5)
    many = standard * (MAX_BATCH // 10 + 2)
    np.testing.assert_allclose(decoder.embed(many)[-10:], alone, atol=1e-5)


def test_reconstructions_look_like_the_crops(
    tiny_model: ModelDirectory, decoder: MapDecoder, crops: Crops
) -> None:
    pictures = decoder.reconstruct(_maps(tiny_model, "paper", decoder, crops))
    assert pictures.shape == crops.shape
    assert pictures.dtype == np.uint8
    error = np.abs(pictures.astype(int) - crops).mean((1, 2, 3))
    assert error.max() < 30
    assert np.abs(pictures.astype(int) - crops[::-1]).mean((1, 2, 3)).min() > error.max()


def test_reconstructions_are_clipped_but_what_the_extractor_sees_is_not(
    tiny_model: ModelDirectory,
) -> None:
    """A RecNet that overshoots is shown saturated; its overshoot still reaches the embedding."""
    decoder = MapDecoder(tiny_model)
    codec = tiny_model.codec("paper")
    symbols = np.zeros(codec.map_format.shape, np.uint8)
    embeddings = []
    for bright in (1.0, 3.0):
        decoder._recnets[codec.codec_id] = partial(_all_of, bright)
        assert (decoder.reconstruct([(codec.codec_id, symbols)])[0] == 255).all()
        embeddings.append(decoder.embed([(codec.codec_id, symbols)])[0])
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-3


@pytest.mark.parametrize("steepest", [1.0, 1.5])
@torch.inference_mode()
def test_a_graph_without_python_computes_what_the_network_does(
    tiny_model: ModelDirectory, steepest: float
) -> None:
    network = load_extractor(tiny_model, open_device("cpu"))
    slopes = [layer.weight for layer in network.modules() if isinstance(layer, torch.nn.PReLU)]
    for slope in slopes:
        slope.copy_(torch.linspace(-1, steepest, len(slope)))
    faces = [torch.rand(count, 3, 112, 96) for count in (1, 5)]
    expected = [network(each) for each in faces]
    graph = without_python(network, (3, 112, 96))
    for each, embeddings in zip(faces, expected, strict=True):
        torch.testing.assert_close(graph(each), embeddings)


def _all_of(value: float, latents: torch.Tensor) -> torch.Tensor:
    return torch.full((len(latents), 3, 112, 96), value)


def test_unknown_codecs_and_foreign_maps_are_refused(
    tiny_model: ModelDirectory, decoder: MapDecoder, crops: Crops
) -> None:
    standard, paper = (tiny_model.codec(point).codec_id for point in POINTS)
    png = OnnxCropEncoder(tiny_model, "paper").encode(crops[:1])[0]
    with pytest.raises(UnknownCodec, match=f"'ffff'.*{standard}, {paper}"):
        decoder.unpack("ffff", png)
    with pytest.raises(UnknownCodec):
        decoder.embed([("ffff", decoder.unpack(paper, png))])
    with pytest.raises(InvalidCompactMap):
        decoder.unpack(standard, png)


def test_exported_onnx_takes_any_number_of_crops(tiny_model: ModelDirectory) -> None:
    session = onnxruntime.InferenceSession(tiny_model.codec_path("paper", "compnet.onnx"))
    for count in (1, 3):
        (latents,) = session.run(["latent"], {"crop": np.zeros((count, 3, 112, 96), np.float32)})
        assert latents.shape == (count, 3, 14, 12)


def test_results_are_published_without_touching_the_model(tmp_path: Path) -> None:
    extractor, codecs = tiny_networks()
    scratch = export_model(
        tmp_path / "scratch", description=describe(), extractor=extractor, codecs=codecs
    )
    codec_id = scratch.codec().codec_id
    table = synthetic_table(codec_id, codec_id)
    model = publish_results(
        scratch, tmp_path / "models", calibration=[table], measured={"lfw": 0.9}
    )
    assert model.manifest.calibration_for(codec_id, codec_id) == table
    assert model.manifest.measured == {"lfw": 0.9}
    assert model.manifest.files == scratch.manifest.files
    assert model.codec().codec_id == codec_id


def test_networks_that_the_description_does_not_describe_are_not_exported(tmp_path: Path) -> None:
    extractor, codecs = tiny_networks()
    swapped = {"standard": codecs["paper"], "paper": codecs["standard"]}
    misnamed: dict[str, TrainedCodec] = codecs | {"fine": codecs["paper"]}
    for wrong in (swapped, misnamed):
        with pytest.raises(InvalidModel):
            export_model(tmp_path, description=describe(), extractor=extractor, codecs=wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_mirroring_extractor_cannot_tell_left_from_right(
    tiny_model: ModelDirectory, tmp_path: Path, crops: Crops
) -> None:
    extractor, codecs = tiny_networks()
    config = tiny_model.manifest.extractor.model_copy(update={"mirrored": True})
    description = describe(extractor=config)
    model = export_model(tmp_path, description=description, extractor=extractor, codecs=codecs)
    assert model.manifest.embedding_space != tiny_model.manifest.embedding_space
    embeddings, mirrored, plain, plain_mirrored = (
        MapDecoder(which).embed_crops(picture)
        for which in (model, tiny_model)
        for picture in (crops, np.ascontiguousarray(crops[:, :, ::-1]))
    )
    np.testing.assert_allclose(embeddings, mirrored, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    assert np.abs(plain - plain_mirrored).max() > 1e-2
    total = plain + plain_mirrored
    total /= np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(embeddings, total, atol=1e-5)


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:x", ""])
def test_a_device_that_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(InvalidInput, match=repr(name)) as caught:
        open_device(name)
    assert caught.value.reason == "UNKNOWN_DEVICE"


def test_more_gpus_than_there_are_is_a_typed_error() -> None:
    with pytest.raises(FailedPrecondition, match=r"'cuda:99'.*torch") as caught:
        open_device("cuda:99")
    assert caught.value.reason == "DEVICE_MISSING"


def test_bfloat16_embeds_as_float32_does_within_rounding(
    tiny_model: ModelDirectory, decoder: MapDecoder, crops: Crops
) -> None:
    maps = _maps(tiny_model, "standard", decoder, crops)
    exact = decoder.embed(maps)
    rounded = MapDecoder(tiny_model, precision="bfloat16").embed(maps)

    assert rounded.dtype == np.float32
    assert not np.array_equal(rounded, exact)
    assert float((rounded * exact).sum(1).min()) > 0.999
    np.testing.assert_allclose(np.linalg.norm(rounded, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx2": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_bfloat16_is_for_processors_that_compute_with_it(
    features: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    cpu = torch.device("cpu")

    assert arithmetic(cpu, "auto") == expected
    assert arithmetic(cpu, "float32") == torch.float32
    assert arithmetic(cpu, "bfloat16") == torch.bfloat16
