"""Nearest-neighbor search: the interfaces of an index, and of the cache of all indexes."""

from collections.abc import Callable, Sequence
from typing import Protocol, Self

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


class Cache(Protocol):
    """The search indexes of one embedding space, a copy of the database's embeddings.

    Writers hold `Database.exclusive` and update the copy before they release it.
    """

    @property
    def space(self) -> str:
        """The embedding space of the indexes."""

    @property
    def size(self) -> int:
        """Dimension of the embeddings."""

    def __len__(self) -> int:
        """Return the total number of faces."""

    def index_of(self, collection_key: int) -> FaceIndex:
        """Return the index of a collection; empty if it has no faces."""

    def drop(self, collection_key: int) -> None:
        """Drop the index of a deleted collection."""

    def open(self) -> None:
        """Synchronize the indexes with the database; call it first.

        Raises:
            FailedPrecondition: the gallery's faces were embedded by another extractor
                (EMBEDDING_SPACE_MISMATCH; the metadata `gallery` names a space that can be
                opened), or by none (EMBEDDINGS_MISSING).
            Unavailable: the index server does not answer (INDEX_UNAVAILABLE).
        """

    def catch_up(self) -> None:
        """Apply what a crash left unapplied; before a change, under `Database.exclusive`.

        Raises:
            EmbeddingSpaceChanged: another process has changed the space served.
        """

    def check_served(self) -> None:
        """Raise EmbeddingSpaceChanged if another process has changed the space served."""

    def in_space(self, space: str, size: int) -> Self:
        """Return indexes of another space, filled as far as possible without blocking changes.

        Args:
            space: the space.
            size: dimension of its embeddings.
        """

    def refresh(self) -> None:
        """Synchronize with the faces embedded in the space; call it under `Database.exclusive`."""

    def serve(self) -> None:
        """Make all processes that share the indexes serve this space."""

    def discard_others(self) -> None:
        """Delete the indexes of all other spaces."""

    def close(self) -> None:
        """Close connections."""
