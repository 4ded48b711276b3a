"""Aligned faces as symbols and embeddings: what a quality head and a threshold are fitted on."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from shared.evaluation.cache import NO_CACHE, Cache, pixels_digest
from shared.evaluation.pipeline import Faces, Progress, Vectors, crops_of, no_progress
from shared.evaluation.weights import weights_sha256
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory


@dataclass(frozen=True, slots=True)
class Coded:
    """N faces through one operating point.

    Attributes:
        symbols: (N, C, 14, 12) of CompNet's whole output; a map of the point holds the first.
        vectors: (N, D) unit vectors, of the symbols that the point sends.
        lengths: (N,) of the embeddings before; see `MapDecoder.embed_with_lengths`.
    """

    symbols: NDArray[np.uint8]
    vectors: Vectors
    lengths: NDArray[np.float32]

    def __getitem__(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> "Coded":
        """Some of the faces."""
        return Coded(self.symbols[rows], self.vectors[rows], self.lengths[rows])


class Coder:
    """Both services' way from crop to embedding at one operating point, and what lies between."""

    def __init__(
        self,
        model: ModelDirectory,
        point: str | None = None,
        *,
        threads: int = 1,
        cache: Cache = NO_CACHE,
    ) -> None:
        """Load the networks.

        Args:
            model: a verified model directory.
            point: operating point; None takes the default.
            threads: of ONNX Runtime. Those of torch belong to the process.
            cache: keeps what batches were coded to.
        """
        self._encoder = OnnxCropEncoder(model, point, threads=threads)
        self.point = self._encoder.point
        self.codec_id = self._encoder.codec_id
        self._decoder = MapDecoder(model, precision="auto")  # as the recognizer does
        self._cache = cache
        self._key: dict[str, JsonValue] = {
            "software": version("compactface"),
            "coded": weights_sha256(model, self.point),
            "codec": self.codec_id,
            "space": model.manifest.embedding_space,
            "arithmetic": self._decoder.arithmetic,
        }

    def code(self, batches: Iterable[Faces], *, progress: Progress = no_progress) -> Coded:
        """Code faces that come in batches, at least one; `progress` is told 0 for their number."""
        parts = []
        done = 0
        for faces in batches:
            parts.append(self._code(faces))
            done += len(faces)
            progress(done, 0)
        return joined(parts)

    def _code(self, faces: Faces) -> Coded:
        crops = crops_of(faces)
        key = {**self._key, "lengths": True, "crops": pixels_digest(crops)}
        kept = self._cache.arrays(key, lambda: self._computed(crops))
        return Coded(kept["symbols"], kept["vectors"], kept["lengths"])

    def _computed(self, crops: Faces) -> dict[str, NDArray[np.uint8] | NDArray[np.float32]]:
        symbols = self._encoder.symbols(crops)
        maps = [(self.codec_id, each) for each in symbols]
        vectors, lengths = self._decoder.embed_with_lengths(maps)
        return {"symbols": symbols, "vectors": vectors, "lengths": lengths}


def joined(parts: list[Coded]) -> Coded:
    """One after the other."""
    return Coded(
        np.concatenate([part.symbols for part in parts]),
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.lengths for part in parts]),
    )
