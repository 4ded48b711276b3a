"""The database and cache that all parts of the gallery share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from recognizer_service.gallery.clock import GalleryClock
from recognizer_service.gallery.index import Cache, FaceIndex
from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.types import EmbeddingSpaceChanged


@dataclass(slots=True)
class Store:
    """The database, which is authoritative, and its cache.

    Attributes:
        database: the database.
        cache: changed, and replaced as a whole, only under `database.exclusive`. Read it once where
            the space and the indexes must agree.
        clock: the times of the gallery.
    """

    database: Database
    cache: Cache
    clock: GalleryClock

    def now(self) -> datetime:
        """Return the time for new rows, UTC; see `GalleryClock.now`."""
        return self.clock.now()

    @property
    def embedding_space(self) -> str:
        """The embedding space served."""
        return self.cache.space

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock for changes to the gallery. Not reentrant.

        Raises:
            EmbeddingSpaceChanged: another process has changed over to another space.
        """
        with self.database.exclusive:
            self.cache.catch_up()
            yield

    def delete_in_steps(
        self,
        delete_some: Callable[[Connection], int],
        *,
        most: int,
        committed: Callable[[], None] = lambda: None,
    ) -> tuple[int, int]:
        """Delete in several transactions, so that no writer waits long for the lock.

        Args:
            delete_some: deletes up to `most` rows in a transaction; returns how many it deleted.
                It is called until these are fewer than `most`.
            most: number of rows per transaction.
            committed: called after every transaction, still under the lock.

        Returns:
            The number deleted, and the number of the last erasure, which completes after all
            others; see `Deletion`. The latter is 0 if nothing was deleted.
        """
        total = erasure = 0
        while True:
            with self.changing():
                with self.database.writing(deleting=True) as connection:
                    gone = delete_some(connection)
                    if gone:
                        erasure = self.database.mark_erasure(connection)
                committed()
            total += gone
            if gone < most:
                return total, erasure

    @property
    def embedding_size(self) -> int:
        """Dimension of the embeddings."""
        return self.cache.size

    def index_of(self, collection_key: int) -> FaceIndex:
        """Return the index served for a collection."""
        return self.cache.index_of(collection_key)

    def cache_in(self, space: str | None) -> Cache:
        """Return the cache for embeddings of a space; None means the space served.

        Raises:
            EmbeddingSpaceChanged: another space is served.
        """
        cache = self.cache
        if space is not None and space != cache.space:
            raise EmbeddingSpaceChanged(given=space, served=cache.space)
        cache.check_served()
        return cache
