"""Judges: networks that embed images for evaluation, our extractor or an imported one."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import FailedPrecondition
from shared.inference.map_decoder import MapDecoder
from shared.inference.onnx_embedder import OnnxEmbedder

# Bounds memory for long lists, as in the map decoder.
_BATCH = 64
# A 112x96 crop is the middle of the 112x112 image that imported networks take.
_MISSING_COLUMNS = 8


class Judge(Protocol):
    """Embeds crops as 8-bit images."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, 112, 96, 3) RGB in [0, 255], N at least 1 -> (N, D) unit vectors."""
        ...


class ExtractorJudge:
    """The extractor of a model directory."""

    def __init__(self, decoder: MapDecoder) -> None:
        """Use the extractor that `decoder` has loaded."""
        manifest = decoder.model.manifest
        self.name = f"{manifest.family}/{manifest.version}"
        self._decoder = decoder

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, 112, 96, 3) RGB in [0, 255] -> (N, D) unit vectors."""
        return self._decoder.embed_crops(crops)


class OnnxJudge:
    """A 112x112 network with input (pixel - 127.5) / 128, such as ArcFace's.

    Crops are padded with copies of their first and last column. This shifts embeddings a little,
    so uncompressed crops must be embedded in the same way as compressed ones.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Load the network; the judge's name is the file's name without suffix.

        Args:
            path: ONNX file, (N, 3, 112, 112) RGB -> (N, D); N may be fixed to 1.
            threads: number of ONNX Runtime threads.

        Raises:
            FailedPrecondition: EVALUATION_DATA_MISSING; no such file.
        """
        if not path.is_file():
            raise FailedPrecondition(
                "EVALUATION_DATA_MISSING", f"{path} is missing; it should be an ONNX face network"
            )
        self.name = path.stem
        self._network = OnnxEmbedder(path, threads=threads)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, 112, 96, 3) RGB in [0, 255], N at least 1 -> (N, D) unit vectors."""
        batches = (crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH))
        return np.concatenate([self._network.embed(_pictures(batch)) for batch in batches])


def _pictures(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 112, 96, 3) in [0, 255] -> (N, 3, 112, 112) in [-1, 1]."""
    columns = (_MISSING_COLUMNS, _MISSING_COLUMNS)
    whole = np.pad(crops, ((0, 0), (0, 0), columns, (0, 0)), mode="edge")
    return ((whole - np.float32(127.5)) / np.float32(128)).transpose(0, 3, 1, 2)
