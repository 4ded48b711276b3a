"""Selection of the torch device and of the arithmetic on it."""

from typing import Literal

import torch

from shared.errors import FailedPrecondition, InvalidInput

Precision = Literal["float32", "bfloat16", "auto"]
"""`auto`: bfloat16 where the processor computes with it, which takes half the time; embeddings have
a cosine above 0.999 to those of float32."""


def arithmetic(device: torch.device, precision: Precision) -> torch.dtype:
    """The number format to compute with on a device."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        features = torch.cpu.get_capabilities()
        able = bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return torch.bfloat16 if able else torch.float32


def open_device(name: str) -> torch.device:
    """The named torch device, if it is present.

    Args:
        name: "cpu", "cuda", or "cuda:1" for the second GPU.

    Raises:
        InvalidInput: UNKNOWN_DEVICE; no valid device name.
        FailedPrecondition: DEVICE_MISSING; torch sees no such GPU.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in {"cpu", "cuda"}:
        raise InvalidInput(
            "UNKNOWN_DEVICE", f"device is {name!r:.80}; it must be cpu, cuda or cuda:N"
        )
    if device.type == "cuda":
        _require_gpu(device)
    return device


def _require_gpu(device: torch.device) -> None:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) < count:
        return
    build = f"was built for CUDA {torch.version.cuda}" if torch.version.cuda else "has no CUDA"
    raise FailedPrecondition(
        "DEVICE_MISSING",
        f"device is {str(device)!r}, but torch {torch.__version__}, which {build}, sees {count} "
        "GPUs; install NVIDIA's driver and a CUDA build of torch, or choose the device cpu",
    )
