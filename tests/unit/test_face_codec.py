"""The networks made for faces: every bit may speak of the whole face, and they ship small."""

from pathlib import Path

import numpy as np
import pytest
import torch

from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.inference.torch_crop_encoder import TorchCropEncoder
from shared.model_directory import CodecConfig, ModelDirectory
from shared.models.face_codec import FaceCompNet, FaceRecNet, make_codec
from shared.models.sphere20 import Sphere20
from shared.training.export import TrainedCodec, export_model
from tests.tiny_model import WIDTH, describe

CONFIG = CodecConfig(
    channels=4, levels=2, layout="row", widths=(4, 8, 8, 8), face_width=WIDTH, spared=24
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@torch.no_grad()
def _networks() -> tuple[FaceCompNet, FaceRecNet]:
    compnet, recnet = make_codec(channels=4, widths=CONFIG.widths, face_width=WIDTH)
    assert isinstance(compnet, FaceCompNet)
    assert isinstance(recnet, FaceRecNet)
    return compnet.eval(), recnet.eval()


@torch.no_grad()
def _trained() -> tuple[FaceCompNet, FaceRecNet]:
    """As training leaves them: the dense layers' last no longer zero."""
    compnet, recnet = _networks()
    for name, weight in [*compnet.named_parameters(), *recnet.named_parameters()]:
        if "spread" in name:
            weight.normal_(std=0.1)
    return compnet, recnet


@torch.no_grad()
def test_dense_layers_start_silent_and_then_reach_every_place() -> None:
    latent = torch.zeros(2, 4, 14, 12)
    latent[1, 0, 0, 0] = 1
    for (_, recnet), reaches in ((_networks(), False), (_trained(), True)):
        one, other = recnet(latent)
        assert one.shape == (3, 112, 96)
        assert bool((one[:, -8:, -8:] != other[:, -8:, -8:]).any()) is reaches


@pytest.fixture
def model(tmp_path: Path) -> ModelDirectory:
    return export_model(
        tmp_path,
        description=describe(codecs={"tiny": CONFIG}, default_point="tiny"),
        extractor=Sphere20(width=WIDTH),
        codecs={"tiny": TrainedCodec(*_trained())},
    )


def test_a_model_of_them_encodes_and_decodes(model: ModelDirectory) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 96, 3), dtype=np.uint8)
    files = OnnxCropEncoder(model).encode(crops)
    assert files == TorchCropEncoder(model).encode(crops)
    assert max(map(len, files)) <= 150
    decoder, codec = MapDecoder(model), model.codec().codec_id
    maps = [(codec, decoder.unpack(codec, file)) for file in files]
    assert decoder.reconstruct(maps).shape == crops.shape
    assert np.linalg.norm(decoder.embed(maps), axis=1) == pytest.approx(np.ones(3), abs=1e-5)


def test_their_weights_are_shipped_once_and_in_eight_bits(model: ModelDirectory) -> None:
    compnet, _ = _networks()
    numbers = sum(weight.numel() for weight in compnet.parameters())
    weights = model.codec_path(None, "compnet.safetensors").stat().st_size
    computation = model.codec_path(None, "compnet.onnx").stat().st_size
    assert weights < 1.3 * numbers
    assert computation < numbers / 4
