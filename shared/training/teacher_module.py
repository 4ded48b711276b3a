"""The teacher as a torch module: gradients pass through it to the pictures that it judges."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from shared.errors import InvalidTraining
from shared.training.faces import MARGIN
from shared.training.teacher import MEAN, STD

Attributes = Mapping[str, Any]
Operation = Callable[[list[Tensor], Attributes], Tensor]


def _conv(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    top, left, bottom, right = attributes["pads"]
    if (top, left) != (bottom, right):
        raise InvalidTraining("TEACHER_UNSUPPORTED", "the teacher pads its sides unequally")
    convolved: Tensor = functional.conv2d(
        *inputs,  # type: ignore[call-overload] # picture, weight and, where there is one, bias
        stride=attributes["strides"],
        padding=(top, left),
        groups=attributes["group"],
    )
    return convolved


OPERATIONS: dict[str, Operation] = {
    "Conv": _conv,
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "Relu": lambda inputs, _: inputs[0].relu(),
    "PRelu": lambda inputs, _: functional.prelu(inputs[0], inputs[1].flatten()),
    "Clip": lambda inputs, _: inputs[0].clamp(inputs[1], inputs[2]),
    "Reshape": lambda inputs, _: inputs[0].flatten(1),
}


class Impression(NamedTuple):
    """What a network makes of N pictures.

    Attributes:
        embedding: (N, D), not of unit length.
        features: (N, C, H, W) each, what its layers that shrink a picture are given; early ones
            are what any face network looks for, late ones are the teacher's own.
    """

    embedding: Tensor
    features: list[Tensor]


class TeacherModule(nn.Module):
    """A frozen face network from an ONNX file of convolutions and activations."""

    mean: Tensor
    std: Tensor

    def __init__(self, path: Path) -> None:
        """Read the network.

        Raises:
            InvalidTraining: it has a layer that is not among `OPERATIONS`.
            FileNotFoundError: no such file.
        """
        super().__init__()
        graph = onnx.load(path).graph
        self._names: dict[str, str] = {}
        for tensor in graph.initializer:
            self._keep(tensor.name, tensor)
        self._steps: list[tuple[str, list[str], str, Attributes]] = []
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self._keep(node.output[0], attributes["value"])
            elif node.op_type in OPERATIONS:
                self._steps.append((node.op_type, [*node.input], node.output[0], attributes))
            else:
                raise InvalidTraining(
                    "TEACHER_UNSUPPORTED",
                    f"{path} has a layer {node.op_type}; supported are {', '.join(OPERATIONS)}",
                )
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self.register_buffer("mean", torch.from_numpy(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.from_numpy(STD).view(3, 1, 1))

    def _keep(self, name: str, tensor: onnx.TensorProto) -> None:
        self._names[name] = f"constant{len(self._names)}"
        self.register_buffer(
            self._names[name], torch.from_numpy(numpy_helper.to_array(tensor).copy())
        )

    def forward(self, crops: Tensor) -> Impression:
        """See (N, 3, 112, 96) crops in [-1, 1], whose edges are repeated."""
        with torch.autocast(crops.device.type, enabled=False):  # bfloat16 is slower here, and worse
            return self._see(crops.float())

    def _see(self, crops: Tensor) -> Impression:
        # Not `functional.pad`: compiled, its gradient has strides that torch does not expect.
        left, right = (
            edge.expand(-1, -1, -1, MARGIN) for edge in (crops[..., :1], crops[..., -1:])
        )
        faces = torch.cat([left, crops, right], 3)
        values = {name: getattr(self, buffer) for name, buffer in self._names.items()}
        values[self._input] = ((faces + 1) / 2 - self.mean) / self.std
        features = []
        for operation, inputs, output, attributes in self._steps:
            given = [values[name] for name in inputs]
            values[output] = OPERATIONS[operation](given, attributes)
            if operation == "Conv" and given[0].shape[2:] > values[output].shape[2:]:
                features.append(given[0])
        # The first layer that shrinks is given the picture itself.
        return Impression(values[self._output], features[1:])
