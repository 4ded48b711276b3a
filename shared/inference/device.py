"""Selection of the torch device."""

import torch

from shared.errors import FailedPrecondition, InvalidInput


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
