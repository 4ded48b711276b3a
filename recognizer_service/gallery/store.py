"""What every part of the gallery works on: the truth and its cache."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from recognizer_service.gallery.databases import Database
from recognizer_service.gallery.indexes import FaceIndex, OpenIndex
from shared.errors import FailedPrecondition


class EmbeddingSpaceChanged(FailedPrecondition):
    """What was embedded in one space came after the gallery had moved to another; embed anew."""

    def __init__(self, *, given: str, served: str) -> None:
        super().__init__(
            "EMBEDDING_SPACE_CHANGED",
            f"embeddings of space {given} came, and the gallery serves space {served} since",
            metadata={"given": given, "served": served},
        )


@dataclass(frozen=True, slots=True)
class Cache:
    """The search indexes of one embedding space.

    Attributes:
        space: of all embeddings in them; others are not compared with these.
        open_index: opens the index of a collection.
        indexes: by collection key.
    """

    space: str
    open_index: OpenIndex
    indexes: dict[int, FaceIndex] = field(default_factory=dict)

    def index_of(self, collection_key: int) -> FaceIndex:
        """The index of a collection, made if it has none yet."""
        index = self.indexes.get(collection_key)
        if index is None:
            index = self.indexes.setdefault(
                collection_key, self.open_index(self.space, collection_key)
            )
        return index


@dataclass(slots=True)
class Store:
    """The truth and its cache.

    Attributes:
        database: the truth.
        cache: changed, and replaced as a whole, only under `database.exclusive`. Who needs its
            space and its indexes to agree reads it once.
        now: the clock, UTC.
    """

    database: Database
    cache: Cache
    now: Callable[[], datetime]

    @property
    def embedding_space(self) -> str:
        """Of all embeddings served."""
        return self.cache.space

    @property
    def indexes(self) -> dict[int, FaceIndex]:
        """The indexes served, by collection key."""
        return self.cache.indexes

    def index_of(self, collection_key: int) -> FaceIndex:
        """The index served for a collection."""
        return self.cache.index_of(collection_key)

    def cache_in(self, space: str | None) -> Cache:
        """The cache, for embeddings of a space; None: of whichever is served.

        Raises:
            EmbeddingSpaceChanged: another space is served.
        """
        cache = self.cache
        if space is not None and space != cache.space:
            raise EmbeddingSpaceChanged(given=space, served=cache.space)
        return cache
