"""ONNX operators that face networks use, as torch functions.

Each function takes a node's inputs (None for an omitted one) and attributes, and returns its
output or a list of outputs. Pictures are on torch's default device, whole numbers on the host.
Semantics follow opset 17, https://onnx.ai/onnx/operators.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional

from shared.errors import InvalidTraining

Attributes = Mapping[str, Any]
Inputs = list[Any]  # tensors, or None
Operation = Callable[[Inputs, Attributes], Tensor | list[Tensor]]


def _conv(inputs: Inputs, attributes: Attributes) -> Tensor:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right):
        raise InvalidTraining("TEACHER_UNSUPPORTED", "the teacher pads its sides unequally")
    convolved: Tensor = functional.conv2d(
        *inputs,  # type: ignore[call-overload] # picture, weight and, where there is one, bias
        stride=attributes.get("strides", (1, 1)),
        padding=(top, left),
        dilation=attributes.get("dilations", (1, 1)),
        groups=attributes.get("group", 1),
    )
    return convolved


def _batch_norm(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, scale, bias, mean, variance = inputs
    return functional.batch_norm(x, mean, variance, scale, bias, eps=attributes["epsilon"])


def _layer_norm(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, weight, bias = inputs
    if attributes.get("axis", -1) not in (-1, x.ndim - 1):
        raise InvalidTraining("TEACHER_UNSUPPORTED", "the teacher normalises over several axes")
    return functional.layer_norm(x, weight.shape, weight, bias, attributes["epsilon"])


def _gemm(inputs: Inputs, attributes: Attributes) -> Tensor:
    x = inputs[0].T if attributes.get("transA") else inputs[0]
    weight = inputs[1].T if attributes.get("transB") else inputs[1]
    product = attributes.get("alpha", 1.0) * x @ weight
    bias = inputs[2] if len(inputs) > 2 else None
    total: Tensor = product if bias is None else product + attributes.get("beta", 1.0) * bias
    return total


def _dequantize(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Per tensor, per channel along `axis`, or in blocks along it."""
    x, scale, *zero = inputs
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    if block:
        scale = scale.repeat_interleave(block, axis)
        zero = [z.repeat_interleave(block, axis) for z in zero]
    elif scale.ndim == 1 and x.ndim > 1:
        shape = [-1 if dimension == axis else 1 for dimension in range(x.ndim)]
        scale, zero = scale.view(shape), [z.view(shape) for z in zero]
    offset = zero[0].float() if zero else 0
    full: Tensor = (x.float() - offset) * scale
    return full


def _reshape(inputs: Inputs, _: Attributes) -> Tensor:
    x, shape = inputs
    wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(shape.tolist())]
    if wanted[0] == 1:  # a batch size fixed to 1 at export
        wanted[0] = x.shape[0]
    reshaped: Tensor = x.reshape(wanted)
    return reshaped


def _gather(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, index = inputs[0], inputs[1].to(inputs[0].device)
    axis = attributes.get("axis", 0) % x.ndim
    picked = x.index_select(axis, index.flatten() % x.shape[axis])
    gathered: Tensor = picked.reshape(x.shape[:axis] + index.shape + x.shape[axis + 1 :])
    return gathered


def _slice(inputs: Inputs, _: Attributes) -> Tensor:
    x, starts, ends, axes, steps = (*inputs, None, None)[:5]
    begin, end = starts.tolist(), ends.tolist()
    along = range(len(begin)) if axes is None else axes.tolist()
    stride = [1] * len(begin) if steps is None else steps.tolist()
    if min(stride) < 1:
        raise InvalidTraining("TEACHER_UNSUPPORTED", "the teacher slices backwards")
    cuts = [slice(None)] * x.ndim
    for axis, low, high, step in zip(along, begin, end, stride, strict=True):
        cuts[axis] = slice(low, high, step)
    cut: Tensor = x[tuple(cuts)]
    return cut


def _axes(inputs: Inputs, attributes: Attributes) -> list[int] | None:
    """Axes: an input in newer opsets, an attribute in older ones."""
    if len(inputs) > 1 and inputs[1] is not None:
        axes: list[int] = inputs[1].tolist()
        return axes
    return attributes.get("axes")


def _unsqueeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, axes = inputs[0], _axes(inputs, attributes) or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    unsqueezed: Tensor = x
    return unsqueezed


def _squeeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    axes = _axes(inputs, attributes)
    squeezed: Tensor = inputs[0].squeeze() if axes is None else inputs[0].squeeze(axes)
    return squeezed


def _reduce_l2(inputs: Inputs, attributes: Attributes) -> Tensor:
    axes, kept = _axes(inputs, attributes), bool(attributes.get("keepdims", 1))
    norm: Tensor = torch.linalg.vector_norm(inputs[0], dim=axes, keepdim=kept)
    return norm


def _clip(inputs: Inputs, _: Attributes) -> Tensor:
    x, low, high = (*inputs, None, None)[:3]
    clipped: Tensor = x if low is None else x.maximum(low)
    return clipped if high is None else clipped.minimum(high)


def _cast(inputs: Inputs, attributes: Attributes) -> Tensor:
    numpy_type = onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
    cast: Tensor = inputs[0].to(torch.from_numpy(np.empty(0, numpy_type)).dtype)
    return _beside_pictures(cast)


def _divide(inputs: Inputs, _: Attributes) -> Tensor:
    whole = not inputs[0].is_floating_point()
    return torch.div(*inputs, rounding_mode="trunc" if whole else None)


def _split(inputs: Inputs, attributes: Attributes) -> list[Tensor]:
    sizes = inputs[1].tolist() if len(inputs) > 1 else attributes["split"]
    return list(inputs[0].split(sizes, attributes.get("axis", 0)))


def _constant_of_shape(inputs: Inputs, attributes: Attributes) -> Tensor:
    value = attributes.get("value")
    fill = (
        torch.zeros(1) if value is None else torch.from_numpy(numpy_helper.to_array(value).copy())
    )
    shape, number = inputs[0].tolist(), fill.item()
    if fill.is_floating_point():
        return torch.full(shape, number, dtype=fill.dtype)
    return torch.full(shape, number, dtype=fill.dtype, device="cpu")


def _beside_pictures(x: Tensor) -> Tensor:
    """Numbers on the default device, where the pictures are; shapes and indices on the host."""
    return x.to(torch.get_default_device()) if x.is_floating_point() else x


def _shape(inputs: Inputs, attributes: Attributes) -> Tensor:
    cut = slice(attributes.get("start", 0), attributes.get("end"))
    return torch.tensor(list(inputs[0].shape)[cut], device="cpu")


def _expand(inputs: Inputs, _attributes: Attributes) -> Tensor:
    x, shape = inputs
    size = torch.Size(shape.tolist())
    both = torch.broadcast_tensors(x, x.new_empty(()).expand(size))  # type: ignore[no-untyped-call]
    expanded: Tensor = both[0]
    return expanded


OPERATIONS: dict[str, Operation] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda inputs, attributes: torch.cat(inputs, attributes["axis"]),
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Cos": lambda inputs, _: inputs[0].cos(),
    "CumSum": lambda inputs, _: inputs[0].cumsum(int(inputs[1])),
    "DequantizeLinear": _dequantize,
    "Div": _divide,
    "Dropout": lambda inputs, _: inputs[0],
    "Erf": lambda inputs, _: inputs[0].erf(),
    "Expand": _expand,
    "Flatten": lambda inputs, attributes: inputs[0].flatten(attributes.get("axis", 1)),
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda inputs, _: inputs[0].mean((2, 3), keepdim=True),
    "LayerNormalization": _layer_norm,
    "MatMul": lambda inputs, _: inputs[0] @ inputs[1],
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Not": lambda inputs, _: inputs[0].logical_not(),
    "PRelu": lambda inputs, _: functional.prelu(inputs[0], inputs[1].flatten()),
    "ReduceL2": _reduce_l2,
    "Relu": lambda inputs, _: inputs[0].relu(),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sin": lambda inputs, _: inputs[0].sin(),
    "Slice": _slice,
    "Softmax": lambda inputs, attributes: inputs[0].softmax(attributes.get("axis", -1)),
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Transpose": lambda inputs, attributes: inputs[0].permute(attributes["perm"]),
    "Unsqueeze": _unsqueeze,
}
"""Functions by ONNX operator name."""
