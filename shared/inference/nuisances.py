"""What is taken off every embedding: what all faces have in common, and what a bad picture adds.

The mean of faces is part of every embedding, and so of every similarity; without it, strangers
are told apart better. Pictures that are spoilt alike move embeddings alike, and then strangers
match for the light on them. After the mean, the directions of such moves are projected out:
nuisance attribute projection (Campbell, Sturim and Reynolds, "Support vector machines using GMM
supervectors for speaker verification", 2006).
"""

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from shared.inference.tensors import read_tensors
from shared.model_directory import NUISANCE_FILE, ModelDirectory

Vectors = NDArray[np.float32]

_TINY = np.float32(1e-12)


class Nuisances:
    """The mean of unit embeddings, and directions that say nothing of the person; thread-safe."""

    def __init__(self, mean: Vectors, directions: Vectors) -> None:
        """Of the mean (D,) and directions (K, D), which are orthonormal."""
        self._mean = mean
        self._directions = directions

    @classmethod
    def of_model(cls, model: ModelDirectory) -> "Nuisances | None":
        """Those of a model; None: its embeddings are as the extractor gives them.

        Raises:
            InvalidModel: as `read_tensors`.
        """
        if model.manifest.nuisances is None:
            return None
        size = model.manifest.extractor.embedding_size
        shapes = {"mean": (size,), "directions": (model.manifest.nuisances, size)}
        return cls(**read_tensors(model, NUISANCE_FILE, shapes))

    @property
    def count(self) -> int:
        """How many directions."""
        return len(self._directions)

    def to_bytes(self) -> bytes:
        """Content of the file."""
        # `save` writes memory as it lies, whatever the order of axes.
        return save({"mean": self._mean, "directions": np.ascontiguousarray(self._directions)})

    def removed_from(self, vectors: Vectors) -> Vectors:
        """(N, D) unit vectors without them, again of unit length."""
        left = vectors - self._mean
        left -= (left @ self._directions.T) @ self._directions
        return normalised(left)[0]


def normalised(
    embeddings: Vectors,
) -> tuple[Vectors, Vectors]:
    """(N, D) embeddings -> unit vectors of their directions, and their lengths (N,)."""
    lengths = np.maximum(np.linalg.norm(embeddings, axis=1), _TINY)
    return embeddings / lengths[:, np.newaxis], lengths


def finished(embeddings: Vectors, nuisances: Nuisances | None) -> tuple[Vectors, Vectors]:
    """What an `Extractor` returned, (N, D) -> unit vectors to compare, and lengths (N,) before."""
    vectors, lengths = normalised(embeddings)
    return nuisances.removed_from(vectors) if nuisances else vectors, lengths
