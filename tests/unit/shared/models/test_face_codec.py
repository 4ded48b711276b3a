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

WHOLE = CodecConfig(channels=4, levels=4, layout="row", widths=(4, 8, 8, 8), face_width=WIDTH)
TINY = WHOLE.model_copy(update={"spared": 4 * 168 - 324, "networks": "whole"})


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@torch.no_grad()
def _networks() -> tuple[FaceCompNet, FaceRecNet]:
    compnet, recnet = make_codec(channels=4, widths=WHOLE.widths, face_width=WIDTH)
    assert isinstance(compnet, FaceCompNet)
    assert isinstance(recnet, FaceRecNet)
    return compnet.eval(), recnet.eval()


@torch.no_grad()
def test_every_symbol_reaches_every_place() -> None:
    latent = torch.zeros(2, 4, 14, 12)
    latent[1, 0, 0, 0] = 1
    _, recnet = _networks()
    one, other = recnet(latent)
    assert one.shape == (3, 112, 96)
    assert bool((one[:, -8:, -8:] != other[:, -8:, -8:]).any())


@torch.no_grad()
def test_the_identity_of_a_mirror_image_is_the_same() -> None:
    compnet, _ = _networks()
    crops = torch.rand(3, 3, 112, 96) * 2 - 1
    identity, _ = compnet.identity(crops)
    mirrored, _ = compnet.identity(crops.flip(-1))
    torch.testing.assert_close(identity, mirrored)
    torch.testing.assert_close(identity.norm(dim=1), torch.ones(3))


@torch.no_grad()
def test_without_the_mirror_image_a_face_is_seen_once() -> None:
    """Twice as fast; the third stage's features stay those of the face itself."""
    compnet, _ = _networks()
    once, _ = make_codec(channels=4, widths=WHOLE.widths, face_width=WIDTH, face_mirrored=False)
    once.load_state_dict(compnet.state_dict())
    assert isinstance(once, FaceCompNet)
    crops = torch.rand(3, 3, 112, 96) * 2 - 1
    (twice_seen, features), (once_seen, same) = compnet.identity(crops), once.eval().identity(crops)
    torch.testing.assert_close(features, same)
    flipped, _ = once.identity(crops.flip(-1))
    both = once_seen + flipped
    torch.testing.assert_close(twice_seen, both / both.norm(dim=1, keepdim=True))


@pytest.fixture
def model(tmp_path: Path) -> ModelDirectory:
    return export_model(
        tmp_path,
        description=describe(codecs={"tiny": TINY, "whole": WHOLE}, default_point="tiny"),
        extractor=Sphere20(width=WIDTH),
        codecs={"whole": TrainedCodec(*_networks())},
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


def test_a_small_map_is_the_beginning_of_a_large_one(model: ModelDirectory) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 96, 3), dtype=np.uint8)
    decoder = MapDecoder(model)
    tiny, whole = (OnnxCropEncoder(model, point) for point in ("tiny", "whole"))
    for small, large in zip(tiny.encode(crops), whole.encode(crops), strict=True):
        sent = decoder.unpack(tiny.codec_id, small).reshape(-1)[:324]
        np.testing.assert_array_equal(sent, decoder.unpack(whole.codec_id, large).reshape(-1)[:324])


def test_their_weights_are_shipped_once_and_in_eight_bits(model: ModelDirectory) -> None:
    compnet, _ = _networks()
    numbers = sum(weight.numel() for weight in compnet.parameters())
    weights = model.codec_path(None, "compnet.safetensors").stat().st_size
    computation = model.codec_path(None, "compnet.onnx").stat().st_size
    assert weights < 1.3 * numbers
    assert computation < numbers / 4


def test_maps_of_several_points_are_painted_in_one_pass(model: ModelDirectory) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 96, 3), dtype=np.uint8)
    decoder = MapDecoder(model)
    encoders = [OnnxCropEncoder(model, point) for point in ("tiny", "whole")]
    maps = [
        (encoder.codec_id, decoder.unpack(encoder.codec_id, png))
        for encoder in encoders
        for png in encoder.encode(crops)
    ]
    passes: list[int] = []
    recnet = decoder._recnets[maps[0][0]]

    def noted(latents: torch.Tensor) -> torch.Tensor:
        passes.append(len(latents))
        return recnet(latents)

    decoder._recnets = dict.fromkeys(decoder._recnets, noted)
    together = decoder.embed(maps)
    assert passes == [len(maps)]
    apart = np.concatenate([decoder.embed([one]) for one in maps])
    np.testing.assert_allclose(together, apart, atol=1e-5)
