"""From pictures to training faces: the cache, the split, the mixtures."""

import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared.errors import InvalidTraining
from shared.training.face_cache import cache_faces
from shared.training.faces import Faces, load_faces, to_bytes
from shared.training.split import NOBODY, split_faces
from shared.training.teacher import Teacher
from shared.training.teacher_file import TeacherFile
from shared.training.views import load_views, render
from tests.training.invented import PHOTOGRAPH


def test_zip_archives_and_folders_give_the_same_faces(cache: Path, tmp_path: Path) -> None:
    source = cache.parent / "faces"
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for path in source.rglob("*.png"):
            archive.write(path, path.relative_to(source))

    left_out = cache_faces(tmp_path, tmp_path / "cache")

    assert left_out == []
    faces = load_faces(cache)
    assert json.loads((tmp_path / "cache" / "names.json").read_text()) == faces.names
    np.testing.assert_array_equal(np.load(tmp_path / "cache" / "faces.npy"), faces.pixels)


def test_photographs_are_aligned_and_those_without_a_face_left_out(tmp_path: Path) -> None:
    (tmp_path / "faces" / "somebody").mkdir(parents=True)
    (tmp_path / "faces" / "somebody" / "photo.jpg").write_bytes(PHOTOGRAPH.read_bytes())
    (tmp_path / "faces" / "somebody" / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (200, 150)).save(tmp_path / "faces" / "somebody" / "black.png")

    left_out = cache_faces(tmp_path / "faces", tmp_path / "cache")

    assert sorted(left_out) == ["somebody/black.png", "somebody/broken.jpg"]
    assert np.load(tmp_path / "cache" / "faces.npy").shape == (1, 112, 112, 3)


def test_a_folder_without_faces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidTraining, match="no picture below"):
        cache_faces(tmp_path, tmp_path / "cache")


def test_held_out_people_and_their_look_alikes_are_not_trained_on(cache: Path) -> None:
    faces = load_faces(cache)

    split = split_faces(faces)

    owners = np.array(faces.identities())
    assert len(split.held_out) > 0
    assert not set(owners[split.train]) & set(split.held_out)
    near = faces.teacher[split.train, 0] @ faces.teacher[split.validation, 0].T
    assert near.max() < 0.7
    assert (split.labels[split.validation] == NOBODY).all()


def test_views_are_kept_with_the_teachers_answer_to_their_pixels(cache: Path) -> None:
    faces, views = load_faces(cache), load_views(cache)
    pixels = to_bytes(
        render(views, np.arange(5), torch.from_numpy(faces.pixels), device=torch.device("cpu"))
    )

    answers = Teacher(TeacherFile(cache.parent / "teacher.onnx"), threads=1).embed(pixels)

    np.testing.assert_allclose(answers, views.teacher[:5], atol=1e-5)


def test_several_teachers_answer_side_by_side_each_with_its_own_normalisation(
    cache: Path,
) -> None:
    path = cache.parent / "teacher.onnx"
    files = [TeacherFile.parse(f"{path}@symmetric"), TeacherFile.parse(str(path))]
    pixels = load_faces(cache).pixels[:3]

    both = Teacher(*files, threads=1).embed(pixels)

    alone = [Teacher(file, threads=1).embed(pixels) for file in files]
    np.testing.assert_allclose(both * np.sqrt(2), np.concatenate(alone, 1), atol=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3


@pytest.mark.parametrize("text", ["nowhere.onnx", "{}@half"])
def test_a_teacher_that_is_not_there_or_unknown_is_refused(cache: Path, text: str) -> None:
    with pytest.raises(InvalidTraining):
        TeacherFile.parse(text.format(cache.parent / "teacher.onnx"))


def test_who_is_held_out_does_not_depend_on_who_else_is_there(cache: Path) -> None:
    faces = load_faces(cache)
    rows = [row for row, name in enumerate(faces.names) if name < sorted(faces.names)[-40]]
    fewer = Faces(
        [faces.names[row] for row in rows],
        faces.pixels[rows],
        faces.teacher[rows],
        faces.yaw[rows],
    )

    held_out = set(split_faces(faces).held_out)

    assert held_out & set(fewer.identities()) <= set(split_faces(fewer).held_out) | {
        name for name, count in Counter(fewer.identities()).items() if count < 2
    }
