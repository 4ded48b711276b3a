"""The cache of search indexes: the interface between gallery and indexes."""

from typing import Protocol, Self

from recognizer_service.gallery.index import FaceIndex


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
