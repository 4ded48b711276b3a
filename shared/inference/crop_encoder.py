"""Encode aligned crops to compact maps without torch: CompNet runs on ONNX Runtime."""

import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.codec.compact_map import MapFormat, pack, quantize
from shared.inference.imported_network import ImportedNetwork
from shared.inference.nuisances import Nuisances, finished, normalised
from shared.inference.pixels import to_network
from shared.inference.readouts import Readouts
from shared.inference.rounding import Rounding
from shared.model_directory import ONNX_FILE, ModelDirectory, OnnxConfig

# Bounds memory for frames with many faces: the first layer's output takes megabytes per face.
MAX_BATCH = 32


class CropEncoder(ABC):
    """Encodes crops to PNG files at one operating point; thread-safe.

    Attributes:
        point: name of the operating point.
        codec_id: id of the codec (16 hexadecimal digits).
        map_format: geometry, levels and layout of the maps.
        compnet: the file of CompNet; points of equal files have equal latents.
        extractor: the file of the extractor that embeds crops; None: no symbol depends on it.
    """

    point: str
    codec_id: str
    map_format: MapFormat
    compnet: Path
    extractor: Path | None

    def __init__(self, model: ModelDirectory, point: str | None = None) -> None:
        codec = model.codec(point)
        self.point = point or model.manifest.default_point
        self.codec_id = codec.codec_id
        self.map_format = codec.map_format
        self._normalisation = model.manifest.normalisation
        self._nuisances = Nuisances.of_model(model)
        self._rounding = _rounding(model, self.point)
        self.compnet = model.codec_path(point, ONNX_FILE)
        self.extractor = model.camera_extractor_path if self._rounding else None

    def encode(self, crops: NDArray[np.uint8]) -> list[bytes]:
        """(N, 112, 96, 3) RGB in [0, 255] -> N PNG files."""
        return self.pack(self.symbols(crops))

    def symbols(self, crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(N, 112, 96, 3) RGB in [0, 255] -> symbols (N, C, 14, 12) in [0, L-1]."""
        return self.rounded(self.latents(crops), self.embeddings(crops))

    def latents(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, 112, 96, 3) RGB in [0, 255] -> CompNet's output, (N, C, 14, 12) in [-1, 1]."""
        batches = (to_network(batch, self._normalisation) for batch in _batches(crops))
        none = np.empty((0, *self.map_format.shape), np.float32)
        return np.concatenate([none, *(self._compress(batch) for batch in batches)])

    def embeddings(self, crops: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Unit embeddings (N, D) of the crops; None if they are not needed."""
        if self._rounding is None:
            return None
        parts = [finished(self._embed(batch), self._nuisances)[0] for batch in _batches(crops)]
        return np.concatenate([np.empty((0, self._rounding.embedding_size), np.float32), *parts])

    def rounded(
        self, latents: NDArray[np.float32], embeddings: NDArray[np.float32] | None
    ) -> NDArray[np.uint8]:
        """What `latents` and `embeddings` return -> symbols (N, C, 14, 12) in [0, L-1]."""
        if self._rounding is None:
            return quantize(latents, self.map_format.levels)
        assert embeddings is not None
        return self._rounding.symbols(latents, embeddings)

    def pack(self, symbols: NDArray[np.uint8]) -> list[bytes]:
        """Symbols (N, C, 14, 12) in [0, L-1] -> N PNG files."""
        return [pack(each, self.map_format) for each in symbols]

    @abstractmethod
    def _compress(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run CompNet: (N, 3, 112, 96) -> (N, C, 14, 12), both in [-1, 1]."""

    @abstractmethod
    def _embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the extractor: (N, 112, 96, 3) RGB in [0, 255] -> (N, D), of any length."""


def _batches(crops: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    return (crops[start : start + MAX_BATCH] for start in range(0, len(crops), MAX_BATCH))


def _rounding(model: ModelDirectory, point: str) -> Rounding | None:
    readouts = Readouts.of_model(model)
    if readouts is None or point not in readouts.of_points:
        return None
    return Rounding(
        readouts.of_points[point],
        model.codec(point).map_format,
        distortion=model.manifest.readouts[point].distortion,
    )


class OnnxCropEncoder(CropEncoder):
    """CompNet on ONNX Runtime, on the CPU."""

    def __init__(
        self, model: ModelDirectory, point: str | None = None, *, threads: int = 1
    ) -> None:
        super().__init__(model, point)
        self._session = open_session(self.compnet, threads=threads)
        if self.extractor is not None:
            self._embedder = _embedder(model, open_session(self.extractor, threads=threads))

    def _compress(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        (latents,) = self._session.run(["latent"], {"crop": batch})
        return np.asarray(latents, np.float32)

    def _embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._embedder(crops)


def _embedder(
    model: ModelDirectory, session: onnxruntime.InferenceSession
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The extractor as cameras run it: crops (N, 112, 96, 3) -> embeddings (N, D)."""
    config, normalisation = model.manifest.extractor, model.manifest.normalisation
    if isinstance(config, OnnxConfig):
        return ImportedNetwork(session, config).embed

    def embed(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = to_network(crops, normalisation)
        (embeddings,) = session.run(["embedding"], {"crop": batch})
        if config.mirrored:
            (others,) = session.run(["embedding"], {"crop": batch[..., ::-1].copy()})
            embeddings = normalised(embeddings)[0] + normalised(others)[0]
        return np.asarray(embeddings, np.float32)

    return embed


def open_session(path: Path, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open one of a camera's networks on the CPU, with right sums of 8-bit products.

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
