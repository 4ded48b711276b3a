"""Codecs of earlier versions without their CompNet: maps can be read, not made."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from command_line.main import app
from shared.errors import InvalidModel
from shared.evaluation.pipeline import Pipeline
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.inference.torch_crop_encoder import TorchCropEncoder
from shared.model_directory import ModelDirectory, without_carried_compnets
from tests.tiny_model import CODECS, describe, smooth_images, write_tiny_model


@pytest.fixture
def slim(tiny_model: ModelDirectory, tmp_path: Path) -> ModelDirectory:
    return without_carried_compnets(tiny_model, tmp_path, version="2")


def test_maps_of_the_codec_mean_what_they_did(
    tiny_model: ModelDirectory, slim: ModelDirectory
) -> None:
    old, new = tiny_model.manifest, slim.manifest
    assert set(old.files) - set(new.files) == {
        "codecs/paper/compnet.safetensors",
        "codecs/paper/compnet.onnx",
    }
    assert [c.codec_id for c in new.codecs.values()] == [c.codec_id for c in old.codecs.values()]
    assert new.embedding_space == old.embedding_space
    assert new.calibration == old.calibration

    pixels = ((smooth_images(4) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    earlier = OnnxCropEncoder(tiny_model, "paper")
    embedded = []
    for model in (tiny_model, slim):
        decoder = MapDecoder(model)
        maps = [
            (earlier.codec_id, decoder.unpack(earlier.codec_id, png))
            for png in earlier.encode(np.ascontiguousarray(pixels))
        ]
        embedded.append(decoder.embed(maps))
    np.testing.assert_array_equal(*embedded)


@pytest.mark.parametrize("encoder", [OnnxCropEncoder, TorchCropEncoder])
def test_a_camera_is_told_what_it_can_make(
    slim: ModelDirectory, encoder: type[OnnxCropEncoder | TorchCropEncoder]
) -> None:
    assert encoder(slim, "standard").codec_id == slim.codec("standard").codec_id
    with pytest.raises(InvalidModel, match="choose one of: standard") as refused:
        encoder(slim, "paper")
    assert refused.value.reason == "DECODE_ONLY"


def test_measuring_leaves_the_codec_out(slim: ModelDirectory) -> None:
    assert Pipeline(slim).embed_batch(np.zeros((1, 112, 112, 3), np.uint8)).map_bytes.keys() == {
        "standard"
    }


def test_the_default_point_has_a_compnet() -> None:
    with pytest.raises(ValidationError, match="'standard' has no CompNet"):
        describe(codecs={"standard": CODECS["standard"].model_copy(update={"compnet": "ab" * 32})})


def test_it_is_a_command(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    write_tiny_model(tmp_path, tmp_path_factory.mktemp("scratch"))
    where = ("--models", str(tmp_path))
    for arguments in (("slim", "2", "--of", "1"), ("use", "2"), ("verify",)):
        result = CliRunner().invoke(app, ["model", *arguments, *where])
        assert result.exit_code == 0, result.output
    shown = CliRunner().invoke(app, ["model", "show", *where]).output.splitlines()
    assert ["paper" in line for line in shown if "read only" in line] == [True]
