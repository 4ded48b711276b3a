"""A teacher as a torch module, differentiable with respect to its input."""

from typing import Any, NamedTuple

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from shared.errors import InvalidTraining
from shared.training.faces import MARGIN
from shared.training.onnx_operations import OPERATIONS, Attributes
from shared.training.teacher_file import NORMALISATIONS, TeacherFile


class TeacherOutput(NamedTuple):
    """A network's output for N images.

    Attributes:
        embedding: (N, D), not of unit length.
        features: (N, C, H, W) each, the inputs of its strided layers. Early ones are common to all
            face networks, late ones specific to the teacher.
    """

    embedding: Tensor
    features: list[Tensor]


class TeacherModule(nn.Module):
    """A frozen face network from an ONNX file."""

    mean: Tensor
    scale: Tensor

    def __init__(self, file: TeacherFile) -> None:
        """Read the network.

        Raises:
            InvalidTraining: it has an operator that is not in `OPERATIONS`.
            FileNotFoundError: no such file.
        """
        super().__init__()
        graph = onnx.load(file.path).graph
        self._names: dict[str, str] = {}
        for tensor in graph.initializer:
            self._keep(tensor.name, tensor)
        self._steps: list[tuple[str, list[str], list[str], Attributes]] = []
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self._keep(node.output[0], attributes["value"])
            elif node.op_type in OPERATIONS:
                self._steps.append((node.op_type, [*node.input], [*node.output], attributes))
            else:
                raise InvalidTraining(
                    "TEACHER_UNSUPPORTED",
                    f"{file.path} has a layer {node.op_type}; "
                    f"supported are {', '.join(OPERATIONS)}",
                )
        # Older files list weights among the inputs.
        (self._input,) = (i.name for i in graph.input if i.name not in self._names)
        self._output = graph.output[0].name
        mean, scale = NORMALISATIONS[file.normalisation]
        self.register_buffer("mean", torch.from_numpy(mean).view(3, 1, 1))
        self.register_buffer("scale", torch.from_numpy(scale).view(3, 1, 1))

    def _keep(self, name: str, tensor: onnx.TensorProto) -> None:
        self._names[name] = f"constant{len(self._names)}"
        self.register_buffer(
            self._names[name], torch.from_numpy(numpy_helper.to_array(tensor).copy())
        )

    def forward(self, crops: Tensor) -> TeacherOutput:
        """Embed (N, 3, 112, 96) crops in [-1, 1], with replicated borders."""
        with torch.autocast(crops.device.type, enabled=False):  # bfloat16 is slower and less exact
            return self._run(crops.float())

    def _run(self, crops: Tensor) -> TeacherOutput:
        # Not `functional.pad`: compiled, its gradient has strides that torch does not expect.
        left, right = (
            edge.expand(-1, -1, -1, MARGIN) for edge in (crops[..., :1], crops[..., -1:])
        )
        faces = torch.cat([left, crops, right], 3)
        values = {name: getattr(self, buffer) for name, buffer in self._names.items()}
        values[self._input] = ((faces + 1) * 127.5 - self.mean) / self.scale
        features = []
        for operation, inputs, outputs, attributes in self._steps:
            given: list[Any] = [values[name] if name else None for name in inputs]
            answer = OPERATIONS[operation](given, attributes)
            answers = answer if isinstance(answer, list) else [answer]
            values.update(zip(outputs, answers, strict=False))  # some layers return only one
            if operation == "Conv" and given[0].shape[2:] > answers[0].shape[2:]:
                features.append(given[0])
        # The input of the first strided layer is the image itself.
        return TeacherOutput(values[self._output], features[1:])
