"""What every part of the gallery works on: the truth and its cache."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from recognizer_service.gallery.index import FaceIndex
from recognizer_service.gallery.index.cache import Cache
from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.types import EmbeddingSpaceChanged


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

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Held by whoever changes the gallery. Not reentrant.

        Raises:
            EmbeddingSpaceChanged: another process has changed over to another space.
        """
        with self.database.exclusive:
            self.cache.catch_up()
            yield

    @property
    def embedding_size(self) -> int:
        """Numbers in each of them."""
        return self.cache.size

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
        cache.check_served()
        return cache
