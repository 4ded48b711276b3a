"""The teacher as a network that gradients pass through."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn import functional

from shared.errors import InvalidTraining
from shared.training.faces import load_faces
from shared.training.losses import feature_loss
from shared.training.teacher import Teacher
from shared.training.teacher_file import TeacherFile
from shared.training.teacher_module import TeacherModule


def test_the_teacher_that_gradients_pass_through_says_what_its_file_says(cache: Path) -> None:
    path = cache.parent / "teacher.onnx"
    crops = load_faces(cache).pixels[:5, :, 8:104]
    padded = np.pad(crops, ((0, 0), (0, 0), (8, 8), (0, 0)), mode="edge")

    pictures = (torch.from_numpy(crops.copy()).permute(0, 3, 1, 2) / 127.5 - 1).requires_grad_()
    answers = functional.normalize(TeacherModule(TeacherFile(path))(pictures).embedding)
    answers.sum().backward()

    expected = Teacher(TeacherFile(path), threads=1).embed(padded)
    np.testing.assert_allclose(answers.detach().numpy(), expected, atol=1e-5)
    assert pictures.grad is not None
    assert pictures.grad.abs().sum() > 0


def test_the_teachers_inner_layers_see_how_far_a_picture_is_from_another(tmp_path: Path) -> None:
    """Of four layers all but the second shrink; the first of them is given the picture itself."""
    random = np.random.default_rng(0)
    layers = [(8, 3, 3, 2), (8, 8, 3, 1), (16, 8, 3, 2), (4, 16, 28, 1)]
    names = ["input", "half", "same", "quarter", "output"]
    nodes, weights = [], []
    for number, (out, into, kernel, stride) in enumerate(layers):
        weight = random.normal(size=(out, into, kernel, kernel)).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(weight, f"weights{number}"))
        margin = [kernel // 2] * 4 if kernel == 3 else [0] * 4
        nodes.append(
            helper.make_node(
                "Conv", [names[number], f"weights{number}"], [names[number + 1]],
                pads=margin, strides=[stride] * 2, group=1,
            )
        )  # fmt: skip
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("input", "output")]
    graph = helper.make_graph(nodes, "teacher", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph), tmp_path / "teacher.onnx")
    teacher = TeacherModule(TeacherFile(tmp_path / "teacher.onnx"))
    face = torch.rand(2, 3, 112, 96) * 2 - 1

    seen = teacher(face).features
    near, far = (teacher(face + noise * torch.randn_like(face)).features for noise in (0.1, 0.5))

    assert [tuple(layer.shape[1:]) for layer in seen] == [(8, 56, 56), (16, 28, 28)]
    assert feature_loss(seen, seen) == 0
    assert 0 < feature_loss(near, seen) < feature_loss(far, seen)


def test_a_teacher_with_an_unknown_layer_is_refused_by_its_name(tmp_path: Path) -> None:
    node = helper.make_node("Hardmax", ["input"], ["output"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in node.input]
    graph = helper.make_graph([node], "teacher", values, values)
    onnx.save(helper.make_model(graph), tmp_path / "teacher.onnx")

    with pytest.raises(InvalidTraining, match="a layer Hardmax; supported are Add"):
        TeacherModule(TeacherFile(tmp_path / "teacher.onnx"))


@pytest.mark.parametrize(
    "name", ["mobilefacenet_ms1m_128", "sface_128@raw", "edgeface_xs_512@symmetric"]
)
def test_published_networks_say_the_same_as_in_their_own_runtime(name: str) -> None:
    data = os.environ.get("COMPACTFACE_DATA")
    if data is None:
        pytest.skip("COMPACTFACE_DATA names no research data")
    stem, _, normalisation = name.partition("@")
    file = TeacherFile(Path(data, "teachers", f"{stem}.onnx"), normalisation or "imagenet")
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 96, 3), np.uint8)
    padded = np.pad(crops, ((0, 0), (0, 0), (8, 8), (0, 0)), mode="edge")

    pictures = (torch.from_numpy(crops).permute(0, 3, 1, 2) / 127.5 - 1).requires_grad_()
    answers = functional.normalize(TeacherModule(file)(pictures).embedding)
    answers[:, 0].sum().backward()

    np.testing.assert_allclose(
        answers.detach().numpy(), Teacher(file, threads=1).embed(padded), atol=1e-4
    )
    assert pictures.grad is not None
    assert pictures.grad.abs().sum() > 0
