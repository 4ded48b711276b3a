"""Invented people and a teacher who knows them, and training as its user starts it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image
from typer.testing import CliRunner

from command_line.main import app

PHOTOGRAPH = Path(__file__).parents[1] / "data" / "eileen_collins_portrait.jpg"


def invented_face(person: int, number: int) -> Image.Image:
    """Blurred colours that differ more between people than between a person's pictures."""
    coarse = np.random.default_rng(person).integers(0, 256, (7, 7, 3))
    noise = np.random.default_rng((person, number)).integers(-20, 21, (7, 7, 3))
    pixels = (coarse + noise).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((112, 112), Image.Resampling.BICUBIC)


def write_teacher(path: Path, *, seed: int = 0) -> Path:
    """A linear network on an 8x8 thumbnail: near pictures have near embeddings."""
    coarse = np.random.default_rng(seed).normal(size=(16, 3, 8, 8)).astype(np.float32)
    weights = coarse.repeat(14, axis=2).repeat(14, axis=3) / 14**2
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 16])
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node(
            "Conv", ["input", "weights"], ["answer"], pads=[0] * 4, strides=[1, 1], group=1
        ),
        helper.make_node("Reshape", ["answer", "shape"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 16])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def run_train(*arguments: object) -> None:
    """`compactface train` with these arguments, which is to succeed."""
    result = CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
