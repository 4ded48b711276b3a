"""A teacher as a torch module, differentiable with respect to its input."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from shared.errors import InvalidTraining
from shared.training.faces import MARGIN
from shared.training.onnx_operations import OPERATIONS, Attributes
from shared.training.recipe import StageRecipe
from shared.training.teacher_file import NORMALISATIONS, TeacherFile


def open_teachers(recipe: StageRecipe, files: Sequence[TeacherFile]) -> list["TeacherModule"]:
    """The teachers if the recipe needs them, else none.

    Raises:
        InvalidTraining: it needs some, but there is no file.
    """
    if not recipe.needs_teacher:
        return []
    if not files:
        raise InvalidTraining("NO_TEACHER", "the recipe needs a teacher; use --teacher")
    return [TeacherModule(file) for file in files]


class TeacherOutput(NamedTuple):
    """A network's output for N images.

    Attributes:
        embedding: (N, D), not of unit length.
        features: (N, C, H, W) each, the inputs of its strided layers. Early ones are common to all
            face networks, late ones specific to the teacher.
    """

    embedding: Tensor
    features: list[Tensor]

    @classmethod
    def of(cls, answers: list[Tensor]) -> Self:
        """From a list of the embedding and the features."""
        return cls(answers[0], answers[1:])


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
        # Shapes, axes and indices stay on the host: reading them would stop a GPU's queue.
        self._integers: dict[str, Tensor] = {}
        for tensor in graph.initializer:
            self._keep(tensor.name, _tensor(tensor))
        self._steps: list[tuple[str, list[str], list[str], Attributes]] = []
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self._keep(node.output[0], _tensor(attributes["value"]))
            elif node.op_type == "DequantizeLinear" and self._names.keys() >= {*node.input}:
                stored = [getattr(self, self._names[name]) for name in node.input]
                self._keep(node.output[0], OPERATIONS[node.op_type](stored, attributes))
            elif node.op_type in OPERATIONS:
                self._steps.append((node.op_type, [*node.input], [*node.output], attributes))
            else:
                raise InvalidTraining(
                    "TEACHER_UNSUPPORTED",
                    f"{file.path} has a layer {node.op_type}; "
                    f"supported are {', '.join(OPERATIONS)}",
                )
        # Older files list weights among the inputs.
        known = self._names | self._integers
        (self._input,) = (i.name for i in graph.input if i.name not in known)
        self._output = graph.output[0].name
        self._unused_after = self._last_uses(known)
        self._compiled: dict[tuple[torch.Size, bool], Callable[[Tensor], list[Tensor]]] = {}
        mean, scale = NORMALISATIONS[file.normalisation]
        self.register_buffer("mean", torch.from_numpy(mean).view(3, 1, 1))
        self.register_buffer("scale", torch.from_numpy(scale).view(3, 1, 1))

    def _keep(self, name: str, value: Any) -> None:
        if value.dtype == torch.int64:
            self._integers[name] = value
            return
        self._names[name] = f"constant{len(self._names)}"
        self.register_buffer(self._names[name], value)

    def _last_uses(self, constants: Iterable[str]) -> list[set[str]]:
        """By step, the values that no later step needs: kept, they would fill the memory."""
        needed, unused = {self._output, *constants}, []
        for _, inputs, outputs, _ in reversed(self._steps):
            unused.append({*filter(None, inputs), *filter(None, outputs[:1])} - needed)
            needed |= {*inputs}
        return unused[::-1]

    def forward(self, crops: Tensor) -> TeacherOutput:
        """Embed (N, 3, 112, 96) crops in [-1, 1], with replicated borders."""
        # Not `functional.pad`: compiled, its gradient has strides that torch does not expect.
        left, right = (
            edge.expand(-1, -1, -1, MARGIN) for edge in (crops[..., :1], crops[..., -1:])
        )
        return self.of_faces(torch.cat([left, crops, right], 3))

    def of_faces(self, faces: Tensor) -> TeacherOutput:
        """Embed (N, 3, 112, 112) faces in [-1, 1].

        On a GPU compiled and in half precision; gradients, which may be tiny, in bfloat16. On a
        CPU in float32, which is faster there.
        """
        with torch.autocast(faces.device.type, enabled=False):
            if not faces.is_cuda:
                return TeacherOutput.of(self._run(faces.float()))
            key = (faces.shape, torch.is_grad_enabled())
            if key not in self._compiled:
                self._compiled[key] = torch.compile(self._traced(faces.detach().float()))
            return TeacherOutput.of(self._compiled[key](faces.float()))

    def _traced(self, faces: Tensor) -> GraphModule:
        """The network for faces of this number, without the arithmetic on shapes.

        It stops a compiler and takes the host longer than the layers take a GPU.
        """
        half = torch.bfloat16 if torch.is_grad_enabled() else torch.float16
        with torch.autocast(faces.device.type, half), torch.device(faces.device):
            traced = make_fx(lambda x: self._run(x))(faces)  # noqa: PLW0108 - methods fail
        traced.graph.eliminate_dead_code()
        traced.recompile()
        return traced

    def _run(self, faces: Tensor) -> list[Tensor]:
        """The embedding and the features."""
        values = {name: getattr(self, buffer) for name, buffer in self._names.items()}
        values |= self._integers
        values[self._input] = ((faces + 1) * 127.5 - self.mean) / self.scale
        features = []
        for (operation, inputs, outputs, attributes), unused in zip(
            self._steps, self._unused_after, strict=True
        ):
            given: list[Any] = [values[name] if name else None for name in inputs]
            answer = OPERATIONS[operation](given, attributes)
            answers = answer if isinstance(answer, list) else [answer]
            values.update(zip(outputs, answers, strict=False))  # some layers return only one
            if operation == "Conv" and given[0].shape[2:] > answers[0].shape[2:]:
                features.append(given[0])
            for name in unused:
                values.pop(name)
        # The input of the first strided layer is the image itself.
        return [values[self._output], *features[1:]]


def _tensor(stored: onnx.TensorProto) -> Tensor:
    return torch.from_numpy(numpy_helper.to_array(stored).copy())
