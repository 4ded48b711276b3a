"""Imported face networks as extractors: ONNX files on ONNX Runtime, CPU or CUDA."""

from typing import Self

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.errors import FailedPrecondition, InvalidModel
from shared.inference.imported_network import ImportedNetwork
from shared.model_directory import InputNormalisation, ModelDirectory, OnnxConfig

_CUDA = "CUDAExecutionProvider"


class OnnxExtractor:
    """An imported network; see `Extractor`.

    Such networks are made for photographs, so RecNet's output is clipped to 8-bit pixels first.
    """

    def __init__(
        self,
        network: bytes,
        config: OnnxConfig,
        normalisation: InputNormalisation,
        device: torch.device,
    ) -> None:
        """Load the network; on the CPU it uses as many threads as torch.

        Args:
            network: an ONNX file with one input and one output of variable batch size.
            config: its input and output.
            normalisation: of the crops that `embed` receives.
            device: "cpu" or "cuda".

        Raises:
            InvalidModel: ONNX Runtime cannot load it (EXTRACTOR_UNUSABLE).
            FailedPrecondition: this ONNX Runtime has no CUDA (DEVICE_MISSING).
        """
        self._network = ImportedNetwork(_session(network, device), config)
        self._crops = normalisation

    @classmethod
    def of_model(cls, model: ModelDirectory, device: torch.device) -> Self:
        """The extractor of a model directory with architecture `onnx`."""
        config = model.manifest.extractor
        assert isinstance(config, OnnxConfig)
        return cls(model.extractor_path.read_bytes(), config, model.manifest.normalisation, device)

    @torch.inference_mode()
    def embed(self, crops: Tensor) -> NDArray[np.float32]:
        """See `Extractor`."""
        pixels = (crops - self._crops.offset) * self._crops.divisor
        shown = pixels.round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        return self._network.embed(shown.contiguous().cpu().numpy())


def _session(network: bytes, device: torch.device) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Spinning idle workers would take cores from the RecNets, which alternate with this session.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # it warns about leftovers of the exporter
    providers = _providers(device)
    try:
        session = onnxruntime.InferenceSession(network, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise InvalidModel(
            "EXTRACTOR_UNUSABLE", f"ONNX Runtime cannot load the extractor ({first_line(error)})"
        ) from error
    # ONNX Runtime only logs a provider that fails to start.
    if device.type == "cuda" and _CUDA not in session.get_providers():
        raise _no_cuda(device, "cannot start CUDA")
    return session


def first_line(error: Exception) -> str:
    """The first line of an ONNX Runtime error, without the source lines that follow."""
    return str(error).strip().partition("\n")[0]


def _providers(device: torch.device) -> list[str | tuple[str, dict[str, str]]]:
    if device.type != "cuda":
        return ["CPUExecutionProvider"]
    if _CUDA not in onnxruntime.get_available_providers():
        raise _no_cuda(device, "has no CUDA")
    # TF32 on a GPU would deviate from embeddings enrolled on a CPU.
    options = {"device_id": str(device.index or 0), "use_tf32": "0"}
    return [(_CUDA, options), "CPUExecutionProvider"]


def _no_cuda(device: torch.device, what: str) -> FailedPrecondition:
    return FailedPrecondition(
        "DEVICE_MISSING",
        f"device is {str(device)!r}, but ONNX Runtime {onnxruntime.__version__}, which runs the "
        f"extractor, {what}; install onnxruntime-gpu in the place of onnxruntime, and the CUDA "
        "libraries it asks for, or choose the device cpu",
    )
