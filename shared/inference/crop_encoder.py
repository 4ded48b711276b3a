"""Encode aligned crops to compact maps without torch: CompNet runs on ONNX Runtime."""

import platform
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.codec.compact_map import MapFormat, pack, quantize
from shared.inference.pixels import to_network
from shared.model_directory import ONNX_FILE, ModelDirectory

# Bounds memory for frames with many faces: the first layer's output takes megabytes per face.
MAX_BATCH = 32


class CropEncoder(ABC):
    """Encodes crops to PNG files at one operating point; thread-safe.

    Attributes:
        point: name of the operating point.
        codec_id: id of the codec (16 hexadecimal digits).
        map_format: geometry, levels and layout of the maps.
    """

    point: str
    codec_id: str
    map_format: MapFormat

    def __init__(self, model: ModelDirectory, point: str | None = None) -> None:
        codec = model.codec(point)
        self.point = point or model.manifest.default_point
        self.codec_id = codec.codec_id
        self.map_format = codec.map_format
        self._normalisation = model.manifest.normalisation

    def encode(self, crops: NDArray[np.uint8]) -> list[bytes]:
        """(N, 112, 96, 3) RGB in [0, 255] -> N PNG files."""
        return self.pack(self.latents(crops))

    def latents(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, 112, 96, 3) RGB in [0, 255] -> CompNet's output, (N, C, 14, 12) in [-1, 1]."""
        if len(crops) == 0:
            return np.empty((0, *self.map_format.shape), np.float32)
        batches = [crops[start : start + MAX_BATCH] for start in range(0, len(crops), MAX_BATCH)]
        return np.concatenate(
            [self._compress(to_network(batch, self._normalisation)) for batch in batches]
        )

    def pack(self, latents: NDArray[np.float32]) -> list[bytes]:
        """Quantize and pack (N, C, 14, 12) in [-1, 1] -> N PNG files."""
        fmt = self.map_format
        return [pack(quantize(latent, fmt.levels), fmt) for latent in latents]

    @abstractmethod
    def _compress(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run CompNet: (N, 3, 112, 96) -> (N, C, 14, 12), both in [-1, 1]."""


class OnnxCropEncoder(CropEncoder):
    """CompNet on ONNX Runtime, on the CPU."""

    def __init__(
        self, model: ModelDirectory, point: str | None = None, *, threads: int = 1
    ) -> None:
        super().__init__(model, point)
        self._session = open_compnet(model.codec_path(point, ONNX_FILE), threads=threads)

    def _compress(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        (latents,) = self._session.run(["latent"], {"crop": batch})
        return np.asarray(latents, np.float32)


def open_compnet(path: Path, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a CompNet (`crop` -> `latent`) on the CPU, with right sums of 8-bit products.

    Args:
        path: the ONNX file; its weights lie beside it.
        threads: number of cores.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # an arena keeps what the largest batch needed
    # Spinning idle workers would take the detector's cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if _overflows():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _overflows() -> bool:
    """Whether sums of 8-bit products overflow on this processor: on x86, unless it has VNNI.

    ONNX Runtime then has to take a slower way. It does not look itself whether that is needed.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    processor = Path("/proc/cpuinfo")
    return not processor.exists() or "vnni" not in processor.read_text()
