"""Searching for the nearest faces: what a gallery asks of an index."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.types import Embedding


class FaceIndex(Protocol):
    """The faces of one collection by what they look like. Safe to use from several threads."""

    def __len__(self) -> int:
        """How many faces it holds."""

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Add faces that are not there yet: N keys and (N, D) unit vectors."""

    def remove(self, keys: Sequence[int]) -> None:
        """Take faces out: no search that begins later finds them."""

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """The faces nearest to a unit vector: key to cosine in [-1, 1], best first."""

    def keys(self) -> list[int]:
        """The keys of all faces, ascending."""


OpenIndex = Callable[[str, int], FaceIndex]
"""Opens an empty index of an embedding space, by its name and the size of its embeddings."""
