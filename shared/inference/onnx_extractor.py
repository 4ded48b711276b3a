"""Face networks of others as extractors: ONNX files, run by ONNX Runtime on CPU or CUDA."""

from typing import Self

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shared.errors import FailedPrecondition, InvalidModel
from shared.model_directory import InputNormalisation, ModelDirectory, OnnxConfig

_CUDA = "CUDAExecutionProvider"


class OnnxExtractor:
    """A network that is shown crops as a person would see them; see `Extractor`.

    It was made for photographs, so that what RecNet gives is clipped to 8-bit pixels first.
    """

    def __init__(
        self,
        network: bytes,
        config: OnnxConfig,
        normalisation: InputNormalisation,
        device: torch.device,
    ) -> None:
        """Load the network; on the CPU it takes as many threads as torch does.

        Args:
            network: an ONNX file of one input and one output, both of any number of pictures.
            config: what it takes and gives.
            normalisation: of the crops it will be given.
            device: "cpu" or "cuda".

        Raises:
            InvalidModel: ONNX Runtime cannot load it (EXTRACTOR_UNUSABLE).
            FailedPrecondition: this ONNX Runtime has no CUDA (DEVICE_MISSING).
        """
        self._config = config
        self._crops = normalisation
        self._session = _session(network, device)
        self._input = self._session.get_inputs()[0].name
        # In channels' order of the picture; it is given to the network in its own.
        self._mean = torch.tensor(config.mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(config.std, device=device).view(3, 1, 1)

    @classmethod
    def of_model(cls, model: ModelDirectory, device: torch.device) -> Self:
        """The extractor of a model directory, whose architecture is `onnx`."""
        config = model.manifest.extractor
        assert isinstance(config, OnnxConfig)
        return cls(model.extractor_path.read_bytes(), config, model.manifest.normalisation, device)

    @torch.inference_mode()
    def embed(self, crops: Tensor) -> NDArray[np.float32]:
        """See `Extractor`."""
        pictures = self._shown(crops)
        embeddings = functional.normalize(self._run(pictures))
        if self._config.mirrored:
            embeddings = embeddings + functional.normalize(self._run(pictures.flip(-1)))
            embeddings = functional.normalize(embeddings)
        unit: NDArray[np.float32] = embeddings.numpy()
        return unit

    def _shown(self, crops: Tensor) -> Tensor:
        """(N, 3, 112, 96) in [-1, 1] -> (N, 3, height, width) as the network wants it."""
        pixels = (crops - self._crops.offset) * self._crops.divisor
        pixels = pixels.round().clamp(0, 255)
        height, width = self._config.height, self._config.width
        if height == width:
            missing = pixels.shape[2] - pixels.shape[3]
            columns = missing // 2, missing - missing // 2
            pixels = functional.pad(pixels, (*columns, 0, 0), mode="replicate")
        if pixels.shape[2:] != (height, width):
            pixels = functional.interpolate(
                pixels, size=(height, width), mode="bilinear", antialias=True
            )
        pictures = (pixels - self._mean) / self._std
        return pictures.flip(1) if self._config.colour == "BGR" else pictures

    def _run(self, pictures: Tensor) -> Tensor:
        feed = {self._input: pictures.contiguous().cpu().numpy()}
        (raw,) = self._session.run(None, feed)
        return torch.from_numpy(np.asarray(raw, np.float32).reshape(len(pictures), -1))


def _session(network: bytes, device: torch.device) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Idle workers that spin would take the cores from the RecNets, which run in turn with it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # it warns of what an exporter left behind
    providers = _providers(device)
    try:
        session = onnxruntime.InferenceSession(network, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors have no class in common
        raise InvalidModel(
            "EXTRACTOR_UNUSABLE", f"ONNX Runtime cannot load the extractor ({first_line(error)})"
        ) from error
    # What it cannot begin with it leaves out, and says so in its log at most.
    if device.type == "cuda" and _CUDA not in session.get_providers():
        raise _no_cuda(device, "cannot start CUDA")
    return session


def first_line(error: Exception) -> str:
    """What ONNX Runtime says, less the source lines that follow."""
    return str(error).strip().partition("\n")[0]


def _providers(device: torch.device) -> list[str | tuple[str, dict[str, str]]]:
    if device.type != "cuda":
        return ["CPUExecutionProvider"]
    if _CUDA not in onnxruntime.get_available_providers():
        raise _no_cuda(device, "has no CUDA")
    # TF32 would set a GPU's embeddings apart from those that a CPU enrolled.
    options = {"device_id": str(device.index or 0), "use_tf32": "0"}
    return [(_CUDA, options), "CPUExecutionProvider"]


def _no_cuda(device: torch.device, what: str) -> FailedPrecondition:
    return FailedPrecondition(
        "DEVICE_MISSING",
        f"device is {str(device)!r}, but ONNX Runtime {onnxruntime.__version__}, which runs the "
        f"extractor, {what}; install onnxruntime-gpu in the place of onnxruntime, and the CUDA "
        "libraries it asks for, or choose the device cpu",
    )
