"""Nearest-neighbor search: the interface between gallery and index."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.types import Embedding


class FaceIndex(Protocol):
    """The embeddings of one collection's faces. Thread-safe."""

    def __len__(self) -> int:
        """Return the number of faces."""

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Add new faces: N keys and (N, D) unit vectors."""

    def remove(self, keys: Sequence[int]) -> None:
        """Remove faces: no later search finds them."""

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """Return the faces nearest to a unit vector: key to cosine in [-1, 1], best first."""

    def keys(self) -> list[int]:
        """Return the keys of all faces, ascending."""


OpenIndex = Callable[[str, int], FaceIndex]
"""Opens an empty index, given the embedding space's name and dimension."""
