"""Stage 0: what the extractor and its heads begin with."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from shared.models.sphere20 import Sphere20
from shared.models.weights import weights_to_bytes
from shared.training import extractor
from shared.training.augment import cut_crops
from shared.training.faces import load_faces, to_tensor
from shared.training.heads import fit_heads
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
