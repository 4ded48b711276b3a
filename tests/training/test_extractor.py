"""Stage 0: what the extractor and its heads begin with."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

from command_line.main import app
from shared.models.face_codec import FaceCompNet
from shared.models.sphere20 import Sphere20
from shared.models.weights import weights_to_bytes
from shared.training import extractor
from shared.training.augment import cut_crops
from shared.training.faces import load_faces, to_tensor
from shared.training.heads import fit_heads, renew_identity
from shared.training.recipe import recipe_path
from shared.training.split import NOBODY, split_faces
from shared.training.student import Student, load_student
from tests.training.invented import run_train


def test_training_may_start_from_the_extractor_of_a_model(cache: Path, tmp_path: Path) -> None:
    trained = Sphere20(width=0.125)
    (tmp_path / "extractor.safetensors").write_bytes(weights_to_bytes(trained, storage="float16"))

    run_train(
        "extractor", "--smoke", "--cache", cache, "--out", tmp_path / "run",
        "--start", tmp_path / "extractor.safetensors", "--samples", 8,
    )  # fmt: skip

    after = load_student(tmp_path / "run").extractor.state_dict()
    for name, weight in trained.state_dict().items():
        torch.testing.assert_close(after[name], weight, atol=0.02, rtol=0.02)


def test_heads_are_fitted_at_the_beginning_alone(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who goes on has them in the checkpoint, and a fit looks at tens of thousands of faces."""
    start = tmp_path / "extractor.safetensors"
    start.write_bytes(weights_to_bytes(Sphere20(width=0.125), storage="float16"))
    run = ("extractor", "--smoke", "--cache", cache, "--out", tmp_path / "run", "--start", start)
    run_train(*run, "--samples", 8)
    fitted: list[Student] = []
    monkeypatch.setattr(extractor, "fit_heads", lambda student, *_, **__: fitted.append(student))

    run_train(*run, "--samples", 16)

    assert not fitted


def test_heads_are_fitted_to_an_extractor_that_is_there_already(cache: Path) -> None:
    """This one sees thumbnails, as the teacher does; half the training faces have no label."""
    torch.manual_seed(0)
    faces = load_faces(cache)
    split = split_faces(faces)
    split.labels[split.train[::2]] = NOBODY
    student = Student(width=0.125, teacher_size=16, classes=split.classes, margin=0.35)
    thumbnail = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, 512))
    student.extractor = thumbnail  # type: ignore[assignment]

    fit_heads(student, faces, split, seed=0)

    rows = split.train
    crops = cut_crops(
        to_tensor(torch.from_numpy(faces.pixels[rows]), torch.zeros(len(rows), dtype=torch.bool))
    )
    with torch.no_grad():
        embeddings = functional.normalize(thumbnail(crops))
        answers = functional.normalize(student.to_teacher(embeddings))
    both = functional.normalize(torch.from_numpy(faces.teacher[rows].sum(1)))
    assert (answers * both).sum(1).mean() > 0.8
    known = split.labels[rows] != NOBODY
    nearest = (embeddings @ student.lmcl.weight.T).argmax(1).numpy()
    assert (nearest == split.labels[rows])[known].mean() > 0.9


def test_a_compnet_with_a_newer_extractor_says_the_same_of_a_face(cache: Path) -> None:
    torch.manual_seed(0)
    faces = load_faces(cache)
    split = split_faces(faces)
    student = Student(width=0.125, teacher_size=16, classes=split.classes, margin=0.35)
    compnet = FaceCompNet(channels=15, width=0.125, mirrored=False)
    rows = split.train
    crops = cut_crops(
        to_tensor(torch.from_numpy(faces.pixels[rows]), torch.zeros(len(rows), dtype=torch.bool))
    )
    with torch.no_grad():
        before, _ = compnet.identity(crops)

        renew_identity(compnet.identity, student, faces, split, seed=0)

        after, _ = compnet.identity(crops)
        stages = compnet.identity.stages(crops)
        assert torch.equal(stages, student.extractor.stages(crops))
    own, others = (1 - (other * after).sum(1).mean() for other in (before, before.roll(1, 0)))
    assert own < others / 5


def test_only_a_compnet_with_an_extractor_can_have_it_renewed(
    cache: Path, extractor: Path, tmp_path: Path
) -> None:
    recipe = recipe_path("smoke", "joint").read_text()
    recipe = re.sub(r"(face_width|spared) = .*\n", "", recipe)
    (tmp_path / "joint.toml").write_text("renew_identity = true\n" + recipe)

    result = CliRunner().invoke(
        app,
        [
            "train", "codec", "--cache", str(cache), "--extractor", str(extractor),
            "--recipe", str(tmp_path / "joint.toml"), "--out", str(tmp_path / "run"),
            "--teacher", str(cache.parent / "teacher.onnx"),
        ],
    )  # fmt: skip

    assert result.exit_code == 1
    assert "renew_identity needs face_width" in " ".join(result.output.split())
