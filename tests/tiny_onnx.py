"""A face network of somebody else's: a linear one on an 8x8 thumbnail, in an ONNX file."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

SIZE = 128


def weights(size: int = SIZE, *, side: int = 112) -> NDArray[np.float32]:
    """(size, 3, side, side): what every number of an embedding looks for."""
    coarse = np.random.default_rng(0).normal(size=(size, 3, 8, 8)).astype(np.float32)
    patch = side // 8
    return coarse.repeat(patch, axis=2).repeat(patch, axis=3) / patch**2


def write_network(path: Path, size: int = SIZE, *, side: int = 112, batches: bool = True) -> Path:
    """One picture in, one embedding out, says the file, as many files do.

    Args:
        path: to write to.
        size: numbers in an embedding.
        side: rows and columns of its input.
        batches: whether it embeds each of several pictures; else it mixes them up.
    """
    nodes = [
        helper.make_node("Conv", ["input", "weights"], ["answer"]),
        helper.make_node("Flatten", ["answer"], ["output" if batches else "flat"]),
    ]
    if not batches:
        nodes += [
            helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Add", ["flat", "mean"], ["output"]),
        ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, size])],
        [onnx.numpy_helper.from_array(weights(size, side=side), "weights")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path
