"""Where the search indexes are kept: what a gallery asks of them all."""

from typing import Protocol, Self

from recognizer_service.gallery.index import FaceIndex


class Cache(Protocol):
    """The search indexes of one embedding space, a copy of what the database holds in it.

    Whoever changes the gallery holds `Database.exclusive`, and brings the copy up to date before
    it lets go.
    """

    @property
    def space(self) -> str:
        """Of all embeddings in them; others are not compared with these."""

    @property
    def size(self) -> int:
        """Numbers in an embedding of that space."""

    def __len__(self) -> int:
        """How many faces they hold."""

    def index_of(self, collection_key: int) -> FaceIndex:
        """The index of a collection; one of a collection without faces is empty."""

    def drop(self, collection_key: int) -> None:
        """Forget a collection that was deleted."""

    def open(self) -> None:
        """Bring them to what the database holds, before any other call.

        Raises:
            FailedPrecondition: the gallery's faces were embedded by another extractor
                (EMBEDDING_SPACE_MISMATCH; the metadata `gallery` names a space that can be
                opened), or by none (EMBEDDINGS_MISSING).
            Unavailable: the engine that keeps them does not answer (INDEX_UNAVAILABLE).
        """

    def catch_up(self) -> None:
        """Before a change, under `Database.exclusive`: make good what a crash left undone.

        Raises:
            EmbeddingSpaceChanged: another process serves another space since.
        """

    def check_served(self) -> None:
        """Raise EmbeddingSpaceChanged if another process serves another space since."""

    def in_space(self, space: str, size: int) -> Self:
        """Indexes of another space, as far as they can be filled while the gallery changes.

        Args:
            space: which.
            size: numbers in an embedding of it.
        """

    def refresh(self) -> None:
        """Under `Database.exclusive`: hold the faces embedded in their space, and no others."""

    def serve(self) -> None:
        """Let all processes that share them search in their space from now on."""

    def discard_others(self) -> None:
        """Forget the indexes of all other spaces."""

    def close(self) -> None:
        """Close connections."""
