"""Aligned faces through the product's own objects: real PNG files, the services' precision."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory

BATCH = 64
"""Faces held in memory at once."""

Faces = NDArray[np.uint8]
"""(N, 112, 112, 3) RGB, aligned to ArcFace's template."""

Progress = Callable[[int, int], None]
"""Is told how many photographs are done, and of how many."""

# ArcFace's template for 112x112 is that of 112x96 shifted by 8 pixels.
_CROP_COLUMNS = slice(8, 104)


@dataclass(frozen=True, slots=True)
class Embedded:
    """N photographs as the product sees them, with and without its codec.

    Attributes:
        uncompressed: (N, 512) unit vectors of the crops themselves.
        compressed: (N, 512) unit vectors of the crops' compact maps.
        map_bytes: (N,) sizes of the PNG files.
    """

    uncompressed: NDArray[np.float32]
    compressed: NDArray[np.float32]
    map_bytes: NDArray[np.int64]


class Pipeline:
    """Both services' way from crop to embedding, at one operating point."""

    def __init__(
        self, model: ModelDirectory, point: str | None = None, *, threads: int = 1
    ) -> None:
        """Load the networks.

        Args:
            model: a verified model directory.
            point: operating point; None takes the default.
            threads: of ONNX Runtime. Those of torch belong to the process.
        """
        self._encoder = OnnxCropEncoder(model, point, threads=threads)
        self._decoder = MapDecoder(model)

    def embed(self, batches: Iterable[Faces], *, total: int, progress: Progress) -> Embedded:
        """Embed faces that come in batches, `total` in all, at least one."""
        parts = []
        done = 0
        for faces in batches:
            parts.append(self._embed(faces[:, :, _CROP_COLUMNS]))
            done += len(faces)
            progress(done, total)
        return Embedded(
            uncompressed=np.concatenate([part.uncompressed for part in parts]),
            compressed=np.concatenate([part.compressed for part in parts]),
            map_bytes=np.concatenate([part.map_bytes for part in parts]),
        )

    def _embed(self, crops: NDArray[np.uint8]) -> Embedded:
        codec_id = self._encoder.codec_id
        files = self._encoder.encode(crops)
        maps = [(codec_id, self._decoder.unpack(codec_id, png)) for png in files]
        return Embedded(
            uncompressed=self._decoder.embed_crops(crops),
            compressed=self._decoder.embed(maps),
            map_bytes=np.array([len(png) for png in files], np.int64),
        )


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""
