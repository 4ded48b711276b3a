"""Codecs that are tuned to a face network of others."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

from command_line.main import app
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory
from shared.training.losses import cosine_loss
from shared.training.run_folder import averaged_weights
from shared.training.student import ImportedExtractor
from shared.training.teacher_file import TeacherFile
from tests.training.invented import run_train, write_teacher


@pytest.fixture(scope="module")
def joint(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of stage 3 before the network that taught the faces."""
    network = cache.parent / "teacher.onnx"
    out = tmp_path_factory.mktemp("imported") / "joint"
    codec, before = out.parent / "codec", ("--extractor", f"onnx:{network}@imagenet")
    told = ("--smoke", "--cache", cache, "--teacher", network, *before)
    run_train("codec", *told, "--out", codec)
    run_train("joint", *told, "--codec", codec, "--out", out)
    return out


def test_the_network_is_neither_trained_nor_kept_among_the_weights(
    cache: Path, joint: Path
) -> None:
    told = (cache.parent / "teacher.onnx").read_bytes()
    assert (joint / "extractor.onnx").read_bytes() == told
    assert not [name for name in averaged_weights(joint) if name.startswith("student")]


def test_it_is_published_with_the_codecs(cache: Path, joint: Path, tmp_path: Path) -> None:
    run_train(
        "publish", "1", "--run", joint.parent / "codec", "--run", joint,
        "--cache", cache, "--models", tmp_path,
    )  # fmt: skip
    model = ModelDirectory.load(tmp_path, "default", "1")
    assert model.manifest.extractor.architecture == "onnx"
    assert model.manifest.extractor.embedding_size == 16
    assert set(model.manifest.codecs) == {"tiny", "small", "standard", "fine"}
    assert model.manifest.calibration
    told = model.manifest.provenance["stages"]["joint"]["shape"]["student"]
    assert told["sha256"] == hashlib.sha256((joint / "extractor.onnx").read_bytes()).hexdigest()
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 96, 3), np.uint8)
    assert MapDecoder(model).embed_crops(crops).shape == (2, 16)


def test_codecs_are_told_how_to_change_a_picture_for_it(cache: Path) -> None:
    """Its answer to a picture that is pulled towards another's becomes like that one's."""
    network = ImportedExtractor(TeacherFile(cache.parent / "teacher.onnx"), teacher_size=16)
    coarse = torch.rand(2, 3, 7, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    picture, other = functional.interpolate(coarse, size=(112, 96)).split(1)
    wanted = functional.normalize(network.extractor(other))
    picture = picture.clone().requires_grad_()
    before = cosine_loss(network.extractor(picture), wanted)
    (slope,) = torch.autograd.grad(before, picture)
    after = cosine_loss(network.extractor(picture - 0.1 * slope.sign()), wanted)
    assert after < before - 0.1


def test_a_network_that_did_not_teach_the_faces_is_refused(cache: Path, tmp_path: Path) -> None:
    other = write_teacher(tmp_path / "other.onnx", seed=1)
    result = CliRunner().invoke(
        app, ["train", "joint", "--smoke", "--cache", str(cache), "--extractor", f"onnx:{other}",
              "--teacher", str(other), "--out", str(tmp_path / "run")]
    )  # fmt: skip
    assert result.exit_code == 1
    assert "was not made with other.onnx" in " ".join(result.output.split())
