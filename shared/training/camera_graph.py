"""What makes exported networks fast on a camera: integers, and an operator that runs fast.

The weights of the extractor, in CompNet or alone, are 8-bit numbers. With 8-bit activations
between them, ONNX Runtime multiplies whole numbers. Each activation has one scale and one zero
point, set by what faces give rise to, as in Jacob et al., "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference" (2018). CompNet's layers after the
extractor, which write the map, stay float32: they take little time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

_EXTRACTOR = ("/identity/", "/stages/")  # within CompNet or alone, names of its nodes begin so
# Of 100,000 activations one lies outside the range: a few large ones would make all steps coarse.
_OUTSIDE = 1e-5
_STEPS = 255

Constants = dict[str, TensorProto]


@dataclass(frozen=True, slots=True)
class _Step:
    """The size of an activation's steps, and the step that means 0."""

    size: np.float32
    zero: np.uint8


@dataclass(frozen=True, slots=True)
class _Convolution:
    """A convolution whose weight the graph dequantizes: product = cast(stored) * scale."""

    node: NodeProto
    cast: NodeProto
    product: NodeProto


def with_fast_prelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with max(x, slope * x) for PReLU; equal, if no slope is above 1.

    Layers with such a slope are left as they are. ONNX Runtime takes much longer for PReLU.
    """
    constants = _constants(model.graph)
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    for node in model.graph.node:
        if node.op_type == "PRelu" and numpy_helper.to_array(constants[node.input[1]]).max() <= 1:
            scaled = f"{node.name}/scaled"
            made.graph.node.append(helper.make_node("Mul", node.input, [scaled], scaled))
            fast = helper.make_node("Max", [node.input[0], scaled], node.output, node.name)
            made.graph.node.append(fast)
        else:
            made.graph.node.append(node)
    return made


def with_int8_activations(model: onnx.ModelProto, crops: NDArray[np.float32]) -> onnx.ModelProto:
    """The network with quantized inputs and outputs of its extractor's convolutions.

    Args:
        model: an exported CompNet or extractor that holds its int8 weights.
        crops: (N, 3, 112, 96) faces in [-1, 1] that set the ranges.

    Returns:
        A copy; an equal one if the network has no extractor.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    found = {each.node.name: each for each in _convolutions(model.graph)}
    if not found:
        return made
    steps = _steps(model, found.values(), crops)
    constants = _constants(model.graph)
    replaced = {part.name for each in found.values() for part in (each.cast, each.product)}
    del made.graph.node[:], made.graph.initializer[:]
    for node in model.graph.node:
        if node.name in found:
            made.graph.node.extend(_quantized(found[node.name], steps, constants))
        elif node.name not in replaced:
            made.graph.node.append(node)
    read = {name for node in made.graph.node for name in node.input}
    made.graph.initializer.extend(
        tensor for name, tensor in constants.items() if name in read and name == tensor.name
    )
    onnx.checker.check_model(made)
    return made


def _constants(graph: onnx.GraphProto) -> Constants:
    """By every name that the graph has for them."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ("Identity", "Unsqueeze") and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    return constants


def _convolutions(graph: onnx.GraphProto) -> Iterator[_Convolution]:
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "Conv" and node.name.startswith(_EXTRACTOR):
            product = made_by.get(node.input[1])
            if product is not None:  # else the weight is small, and stored in float32
                yield _Convolution(node, made_by[product.input[0]], product)


def _steps(
    model: onnx.ModelProto, convolutions: Iterable[_Convolution], crops: NDArray[np.float32]
) -> dict[str, _Step]:
    """By name of an input or output."""
    names = dict.fromkeys(
        name for each in convolutions for name in (each.node.input[0], each.node.output[0])
    )
    (fed,) = (value.name for value in model.graph.input)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name != fed)
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    steps = {}
    for name in names:
        values = crops if name == fed else session.run([name], {fed: crops})[0]
        low, high = np.quantile(values, (_OUTSIDE / 2, 1 - _OUTSIDE / 2))
        low, high = min(low, 0.0), max(high, 1e-6)  # 0, which padding has, must be a step
        size = (high - low) / _STEPS
        steps[name] = _Step(np.float32(size), np.uint8(round(-low / size)))
    return steps


def _quantized(
    convolution: _Convolution, steps: Mapping[str, _Step], constants: Constants
) -> Iterator[NodeProto]:
    """The nodes that replace a convolution; `constants` gets what they read.

    ONNX Runtime makes one operator of the quantized input, the convolution and its quantization.
    """
    node = convolution.node
    entered, _, *biases = node.input
    (left,) = node.output

    def constant(part: str, value: NDArray[Any] | np.generic) -> str:
        name = f"{node.name}/{part}"
        constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def operator(kind: str, part: str, inputs: list[str], output: str, **more: Any) -> NodeProto:
        return helper.make_node(kind, inputs, [output], f"{node.name}/{part}/{kind}", **more)

    def rounded(part: str, source: str, step: _Step, result: str) -> Iterator[NodeProto]:
        scale = [constant(f"{part}/scale", step.size), constant(f"{part}/zero", step.zero)]
        q = f"{node.name}/{part}/q"
        yield operator("QuantizeLinear", part, [source, *scale], q)
        yield operator("DequantizeLinear", part, [q, *scale], result)

    inputs = [f"{node.name}/input", f"{node.name}/weight"]
    yield from rounded("input", entered, steps[entered], inputs[0])
    scales = numpy_helper.to_array(constants[convolution.product.input[1]]).ravel()
    stored = [convolution.cast.input[0], constant("weight/scale", scales)]
    yield operator("DequantizeLinear", "weight", stored, inputs[1], axis=0)
    for bias in biases:
        sizes = (scales * steps[entered].size).astype(np.float32)
        whole = np.round(numpy_helper.to_array(constants[bias]) / sizes).astype(np.int32)
        stored = [constant("bias/stored", whole), constant("bias/scale", sizes)]
        inputs.append(f"{node.name}/bias")
        yield operator("DequantizeLinear", "bias", stored, inputs[2], axis=0)
    result = NodeProto()
    result.CopyFrom(node)
    del result.input[:], result.output[:]
    result.input.extend(inputs)
    result.output.append(f"{node.name}/output")
    yield result
    yield from rounded("output", result.output[0], steps[left], left)
