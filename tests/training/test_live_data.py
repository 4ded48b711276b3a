"""Live views: drawn anew for every batch, and shown to the teachers at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

from command_line.main import app
from shared.training.augment import cut_crops
from shared.training.faces import Faces, load_faces, to_tensor
from shared.training.heads import fit_heads
from shared.training.live_data import LiveData, embed, embedding_size
from shared.training.processes import Process
from shared.training.recipe import recipe_path
from shared.training.run_folder import read_run
from shared.training.split import NOBODY, split_faces
from shared.training.student import Student
from shared.training.teacher_file import TeacherFile
from shared.training.teacher_module import TeacherModule
from tests.training.invented import run_train

CPU = Process(0, 1, torch.device("cpu"))


@pytest.fixture
def faces(cache: Path) -> Faces:
    return load_faces(cache)


@pytest.fixture
def teacher(cache: Path) -> TeacherModule:
    return TeacherModule(TeacherFile(cache.parent / "teacher.onnx"))


@pytest.fixture
def live_recipe(tmp_path: Path) -> Path:
    text = recipe_path("smoke", "extractor").read_text()
    path = tmp_path / "extractor.toml"
    path.write_text(text.replace("mixed =", 'views = "live"\nmixed ='))
    return path


def test_the_teachers_say_of_a_face_what_the_cache_holds(
    faces: Faces, teacher: TeacherModule
) -> None:
    some = to_tensor(torch.from_numpy(faces.pixels[:5]), torch.zeros(5, dtype=torch.bool))
    both = faces.teacher[:5].sum(1)
    cached = torch.from_numpy(both / np.linalg.norm(both, axis=1, keepdims=True))

    torch.testing.assert_close(embed([teacher], some), cached, atol=1e-4, rtol=0)


def test_embeddings_of_several_teachers_are_concatenated_unit_vectors(
    faces: Faces, teacher: TeacherModule
) -> None:
    some = to_tensor(torch.from_numpy(faces.pixels[:5]), torch.zeros(5, dtype=torch.bool))
    one, two = embed([teacher], some), embed([teacher, teacher], some)

    assert two.shape == (5, embedding_size([teacher, teacher]))
    torch.testing.assert_close(two @ two.T, one @ one.T)


def test_a_share_of_a_batch_is_mixtures_and_a_step_can_be_repeated(
    faces: Faces, teacher: TeacherModule
) -> None:
    split = split_faces(faces)
    data = LiveData(faces, split, [teacher], mixed=0.25)
    rows = next(data.batches(16, seed=1, start=0))

    torch.manual_seed(7)
    batch = data.load(rows, CPU)
    torch.manual_seed(7)
    again = data.load(rows, CPU)

    assert batch["crops"].shape == (16, 3, 112, 96)
    assert int((batch["label"] == NOBODY).sum()) == 4
    kept = batch["label"] != NOBODY
    assert batch["label"][kept].tolist() == split.labels[rows][kept.numpy()].tolist()
    for name, value in batch.items():
        torch.testing.assert_close(value, again[name])


def test_no_two_batches_of_the_same_faces_are_alike(faces: Faces, teacher: TeacherModule) -> None:
    data = LiveData(faces, split_faces(faces), [teacher], mixed=0.5)
    rows = next(data.batches(8, seed=1, start=0))
    one, other = data.load(rows, CPU), data.load(rows, CPU)
    assert not torch.equal(one["crops"], other["crops"])
    assert not torch.equal(one["target"], other["target"])


def test_a_view_that_is_used_again_keeps_its_target_and_label(
    faces: Faces, teacher: TeacherModule
) -> None:
    data = LiveData(faces, split_faces(faces), [teacher], mixed=0.5, uses=4)
    rows = data.batches(64, seed=1, start=0)

    first, second = (data.load(next(rows), CPU) for _ in range(2))

    assert first["crops"].shape == (64, 3, 112, 96)
    views = _views(first) | _views(second)
    assert 16 < len(views) <= 32  # a quarter of each batch was shown to the teacher
    assert len(_views(first)) <= 16
    assert _views(first).keys() & _views(second).keys()
    assert all(len(labels) == 1 for labels in views.values())


def test_a_view_that_is_used_again_is_degraded_anew(faces: Faces, teacher: TeacherModule) -> None:
    data = LiveData(faces, split_faces(faces), [teacher], mixed=0.0, uses=8)
    batch = data.load(next(data.batches(8, seed=1, start=0)), CPU)

    assert len(_views(batch)) == 1
    assert len({crop.numpy().tobytes() for crop in batch["crops"]}) == 8


def _views(batch: dict[str, torch.Tensor]) -> dict[bytes, set[int]]:
    """The labels that come with every target of a batch."""
    found: dict[bytes, set[int]] = {}
    for target, label in zip(batch["target"], batch["label"], strict=True):
        found.setdefault(target.numpy().tobytes(), set()).add(int(label))
    return found


def test_the_extractor_trains_on_live_views(cache: Path, tmp_path: Path, live_recipe: Path) -> None:
    teacher = cache.parent / "teacher.onnx"
    run_train(
        "extractor", "--recipe", live_recipe, "--cache", cache, "--out", tmp_path / "run",
        "--teacher", teacher, "--teacher", teacher,
    )  # fmt: skip
    size = embedding_size([TeacherModule(TeacherFile(teacher))])
    assert read_run(tmp_path / "run")["shape"]["teacher_size"] == 2 * size


def test_heads_are_fitted_to_what_the_teachers_say(faces: Faces, teacher: TeacherModule) -> None:
    """This extractor sees thumbnails, as the teacher does."""
    torch.manual_seed(0)
    split = split_faces(faces)
    size = embedding_size([teacher, teacher])
    student = Student(width=0.125, teacher_size=size, classes=split.classes, margin=0.35)
    thumbnail = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, 512))
    student.extractor = thumbnail  # type: ignore[assignment]

    fit_heads(student, faces, split, seed=0, teachers=[teacher, teacher])

    rows = split.train[:20]
    pictures = to_tensor(torch.from_numpy(faces.pixels[rows]), torch.zeros(20, dtype=torch.bool))
    with torch.no_grad():
        answers = student.to_teacher(functional.normalize(thumbnail(cut_crops(pictures))))
    target = embed([teacher, teacher], pictures)
    assert float(functional.cosine_similarity(answers, target).mean()) > 0.9


def test_live_views_need_a_teacher(cache: Path, tmp_path: Path, live_recipe: Path) -> None:
    told = ["--recipe", str(live_recipe), "--cache", str(cache), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, ["train", "extractor", *told])
    assert result.exit_code == 1
    assert "NO_TEACHER" in result.output
