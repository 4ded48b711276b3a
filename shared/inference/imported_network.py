"""Imported face networks on ONNX Runtime, without torch: cameras compute them, too."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.inference.nuisances import normalised
from shared.model_directory import OnnxConfig

Floats = NDArray[np.float32]


class ImportedNetwork:
    """A network, and what it wants to be shown; thread-safe."""

    def __init__(self, session: onnxruntime.InferenceSession, config: OnnxConfig) -> None:
        """Of a session with one input and one output of variable batch size, and its config."""
        self._session = session
        self._config = config
        self._input = session.get_inputs()[0].name
        # In RGB order; the network's channel order is applied last.
        self._mean = np.array(config.mean, np.float32).reshape(3, 1, 1)
        self._std = np.array(config.std, np.float32).reshape(3, 1, 1)

    def embed(self, crops: NDArray[np.uint8]) -> Floats:
        """(N, 112, 96, 3) RGB in [0, 255] -> unit embeddings (N, D)."""
        pictures = self._shown(crops)
        embeddings = self._run(pictures)
        if self._config.mirrored:
            embeddings = normalised(embeddings + self._run(pictures[..., ::-1]))[0]
        return embeddings

    def _shown(self, crops: NDArray[np.uint8]) -> Floats:
        """(N, 3, height, width), normalised for the network."""
        height, width = self._config.height, self._config.width
        if height == width:
            missing = crops.shape[1] - crops.shape[2]
            columns = (missing // 2, missing - missing // 2)
            crops = np.pad(crops, ((0, 0), (0, 0), columns, (0, 0)), mode="edge")
        pixels: Floats = crops.transpose(0, 3, 1, 2).astype(np.float32)
        if pixels.shape[2:] != (height, width):
            down, across = _resizing(pixels.shape[2], height), _resizing(pixels.shape[3], width)
            pixels = (down @ pixels @ across.T).astype(np.float32, copy=False)
        pictures: Floats = (pixels - self._mean) / self._std
        return pictures[:, ::-1] if self._config.colour == "BGR" else pictures

    def _run(self, pictures: Floats) -> Floats:
        (raw,) = self._session.run(None, {self._input: np.ascontiguousarray(pictures)})
        return normalised(np.asarray(raw, np.float32).reshape(len(pictures), -1))[0]


def _resizing(before: int, after: int) -> Floats:
    """(after, before): weights of linear interpolation, which average where pixels get fewer."""
    step = before / after
    centres = (np.arange(after) + 0.5) * step
    distances = np.abs(np.arange(before) + 0.5 - centres[:, np.newaxis])
    weights = np.maximum(0, 1 - distances / max(step, 1))
    shares: Floats = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return shares
