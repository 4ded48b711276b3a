"""Extractors, one for each architecture that a manifest can name."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.errors import FailedPrecondition
from shared.inference.networks import load_extractor, without_python
from shared.model_directory import ModelDirectory


class Extractor(Protocol):
    """Embeds crops; thread-safe."""

    def embed(self, crops: Tensor) -> NDArray[np.float32]:
        """(N, 3, 112, 96), nominally in [-1, 1] and not clipped -> (N, D) embeddings.

        Their lengths say how sure the network is of each face; all are 1 where it does not tell.
        """


class Sphere20Extractor:
    """The project's own extractor, on torch. It is trained on RecNet's output without clipping."""

    def __init__(
        self, model: ModelDirectory, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        template = model.manifest.alignment
        self._network = without_python(
            load_extractor(model, device).to(dtype), (3, template.height, template.width)
        )
        self._dtype = dtype

    @torch.inference_mode()
    def embed(self, crops: Tensor) -> NDArray[np.float32]:
        """See `Extractor`."""
        embeddings: NDArray[np.float32] = self._network(crops.to(self._dtype)).cpu().numpy()
        return embeddings


def _onnx_extractor(
    model: ModelDirectory,
    device: torch.device,
    dtype: torch.dtype,  # noqa: ARG001 - the file determines it
) -> Extractor:
    try:
        from shared.inference.onnx_extractor import OnnxExtractor  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            "EXTRA_MISSING",
            f"the extractor of {model.path} needs onnxruntime; install compactface[recognizer]",
        ) from error
    return OnnxExtractor.of_model(model, device)


EXTRACTORS: Mapping[str, Callable[[ModelDirectory, torch.device, torch.dtype], Extractor]] = {
    "sphere20": Sphere20Extractor,
    "onnx": _onnx_extractor,
}
"""Constructors by architecture."""


def open_extractor(
    model: ModelDirectory, device: torch.device, dtype: torch.dtype = torch.float32
) -> Extractor:
    """Open the extractor of a model on a device, to compute in `dtype` if it is our own.

    Raises:
        InvalidModel: its file does not match the manifest.
        FailedPrecondition: its runtime is not installed (EXTRA_MISSING) or does not support the
            device (DEVICE_MISSING).
    """
    return EXTRACTORS[model.manifest.extractor.architecture](model, device, dtype)
