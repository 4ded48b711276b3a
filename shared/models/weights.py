"""Weights on disk: safetensors; large tensors as int8 per output channel or as float16.

Everything that is measured, hashed or exported uses the stored (rounded) weights.
"""

import json
from copy import deepcopy
from typing import Any, Literal, TypeVar, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from shared.errors import InvalidModel

Network = TypeVar("Network", bound=nn.Module)

Storage = Literal["int8", "float16"]
"""`int8`: w = q * scale, q in [-127, 127], one float32 scale per output channel."""

# Smaller tensors (biases, PReLU slopes, thin layers) stay float32: they take little space.
LARGE = 1024
_SCALE = ".scale"


def weights_to_bytes(module: nn.Module, *, storage: Storage) -> bytes:
    """Serialize a module to safetensors; equal weights give equal bytes.

    Tensors of fewer than 1,024 numbers stay float32. The metadata records `storage`.

    Raises:
        InvalidModel: a weight is not finite, or out of the range of `storage`.
    """
    large = {
        f"{name}.weight": 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
        and layer.weight.numel() >= LARGE
    }
    tensors: dict[str, Tensor] = {}
    for name, value in module.state_dict().items():
        weight = value.detach().cpu().float().contiguous()
        if name not in large:
            tensors[name] = weight
        elif storage == "float16":
            tensors[name] = weight.half()
        else:
            tensors[name], tensors[name + _SCALE] = _quantize(weight, channel_axis=large[name])
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InvalidModel("WEIGHTS_NOT_FINITE", f"{name} is not finite as {storage}")
    return save(tensors, metadata={"storage": storage})


def load_weights(module: Network, content: bytes) -> Network:
    """Load a file's weights into a module as float32; returns the module in eval mode.

    Raises:
        InvalidModel: not a safetensors file, or the weights of another network or width.
    """
    try:
        stored = load(content)
        storage = _metadata(content).get("storage")
    except (SafetensorError, ValueError) as error:
        raise InvalidModel("WEIGHTS_UNREADABLE", "weights are not a safetensors file") from error
    if storage not in get_args(Storage):
        raise InvalidModel(
            "WEIGHTS_UNREADABLE",
            f"weights have storage {storage!r}; known: {', '.join(get_args(Storage))}",
        )
    try:
        module.load_state_dict(_dequantized(stored))
    except (KeyError, RuntimeError) as error:
        raise InvalidModel(
            "WEIGHTS_MISMATCH",
            f"weights are not those of this {type(module).__name__}; "
            "check the widths in the manifest",
        ) from error
    return module.eval().requires_grad_(False)


def with_stored_weights(module: Network, content: bytes) -> Network:
    """A copy of a module that keeps int8 weights as stored and dequantizes them when it runs.

    Its ONNX export is as small as the file. A runtime that folds constants dequantizes once.
    """
    copy = load_weights(deepcopy(module), content)
    for name, scale in load(content).items():
        if name.endswith(_SCALE):
            layer = copy.get_submodule(name.removesuffix(f".weight{_SCALE}"))
            register_parametrization(layer, "weight", _Dequantized(scale), unsafe=True)
    return copy


class _Dequantized(nn.Module):
    """The parametrization w = q * scale; torch calls it unsafe because it changes the dtype."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self._scale = scale

    def forward(self, stored: Tensor, scale: Tensor) -> Tensor:
        return stored.float() * scale

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return (weight / self._scale).round().to(torch.int8), self._scale


def _quantize(weight: Tensor, *, channel_axis: int) -> tuple[Tensor, Tensor]:
    others = [axis for axis in range(weight.ndim) if axis != channel_axis]
    scale = weight.abs().amax(others, keepdim=True).clamp(min=1e-12) / 127
    return (weight / scale).round().to(torch.int8), scale


def _dequantized(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value.float() * stored[name + _SCALE] if value.dtype == torch.int8 else value.float()
        for name, value in stored.items()
        if not name.endswith(_SCALE)
    }


def int8_ranges(content: bytes) -> dict[str, tuple[int, int]]:
    """Byte ranges in a file that `with_stored_weights` dequantizes: (offset, length) by buffer."""
    start = 8 + _header_bytes(content)
    return {
        f"{name.removesuffix('weight')}parametrizations.weight.original0": (
            start + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
        )
        for name, entry in _header(content).items()
        if entry.get("dtype") == "I8"
    }


def _metadata(content: bytes) -> dict[str, str]:
    metadata: dict[str, str] = _header(content).get("__metadata__", {})
    return metadata


def _header(content: bytes) -> dict[str, dict[str, Any]]:
    """The header of a safetensors file: its length in 8 bytes, then JSON."""
    header: dict[str, dict[str, Any]] = json.loads(content[8 : 8 + _header_bytes(content)])
    return header


def _header_bytes(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")
