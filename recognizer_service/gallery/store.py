"""What every part of the gallery works on: the truth and its cache."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from recognizer_service.gallery.database import Database
from recognizer_service.gallery.index import FaceIndex


@dataclass(frozen=True, slots=True)
class Store:
    """The truth and its cache.

    Attributes:
        database: the truth.
        embedding_space: of all embeddings served; others are not compared with these.
        faiss_threads: how many threads one search may use.
        now: the clock, UTC.
        indexes: the cache, by collection key. Changed only under `database.exclusive`.
    """

    database: Database
    embedding_space: str
    faiss_threads: int
    now: Callable[[], datetime]
    indexes: dict[int, FaceIndex] = field(default_factory=dict)

    def index_of(self, collection_key: int) -> FaceIndex:
        """The index of a collection."""
        index = self.indexes.get(collection_key)
        if index is None:
            index = self.indexes.setdefault(collection_key, FaceIndex(threads=self.faiss_threads))
        return index
