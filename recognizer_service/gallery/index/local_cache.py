"""Indexes in the memory of the only process that has the gallery open."""

from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, select

from recognizer_service.gallery.index import FaceIndex, OpenIndex
from recognizer_service.gallery.index.cache import Cache
from recognizer_service.gallery.index.growing import IndexForm, open_index
from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.storage.condemned import is_condemned
from recognizer_service.gallery.storage.opening import Location
from recognizer_service.gallery.storage.rows import check_embedded, read_embeddings
from recognizer_service.gallery.storage.schema import collections, embeddings, faces, subjects
from shared.errors import FailedPrecondition

_CHUNK = 4096


class LocalCache:
    """In-memory indexes that are rebuilt at every start; see `Cache`."""

    def __init__(self, database: Database, space: str, size: int, open_index: OpenIndex) -> None:
        """Create an empty cache.

        Args:
            database: source of the embeddings.
            space: space of the embeddings.
            size: dimension of the embeddings.
            open_index: opens the index of a collection.
        """
        self.space = space
        self.size = size
        self._database = database
        self._open_index = open_index
        self._indexes: dict[int, FaceIndex] = {}

    def __len__(self) -> int:
        """Return the total number of faces."""
        return sum(map(len, self._indexes.values()))

    def index_of(self, collection_key: int) -> FaceIndex:
        """Return the index of a collection, created if missing."""
        index = self._indexes.get(collection_key)
        if index is None:
            index = self._indexes.setdefault(
                collection_key, self._open_index(self.space, self.size)
            )
        return index

    def drop(self, collection_key: int) -> None:
        """Drop the index of a deleted collection."""
        self._indexes.pop(collection_key, None)

    def open(self) -> None:
        """Load every collection's embeddings; see `Cache`."""
        with self._database.reading() as connection:
            check_embedded(connection, self.space)
        self.refresh()

    def in_space(self, space: str, size: int) -> "LocalCache":
        """Return indexes of another space; see `Cache`."""
        other = LocalCache(self._database, space, size, self._open_index)
        other.refresh()
        return other

    def refresh(self) -> None:
        """Synchronize with the faces embedded in the space.

        Cheap if little has changed. Correct only as long as new faces have ascending keys
        (AUTOINCREMENT) and are embedded in key order.
        """
        with self._database.reading() as connection:
            keys = connection.scalars(select(collections.c.key).where(~is_condemned())).all()
            for gone in self._indexes.keys() - set(keys):
                self.drop(gone)
            for key in keys:
                self._refresh(connection, key)

    def catch_up(self) -> None:
        """Do nothing: no other process changes the gallery, and a crash discards the indexes."""

    def check_served(self) -> None:
        """Do nothing: no other process changes the space."""

    def serve(self) -> None:
        """Do nothing: no other process shares the indexes."""

    def discard_others(self) -> None:
        """Do nothing: there are no others."""

    def close(self) -> None:
        """Do nothing: there are no connections."""

    def _refresh(self, connection: Connection, collection_key: int) -> None:
        index = self.index_of(collection_key)
        held = index.keys()
        of_collection = (
            select(faces.c.key, embeddings.c.vector)
            .join_from(faces, subjects)
            .join_from(faces, embeddings)
            .where(subjects.c.collection_key == collection_key)
            .where(embeddings.c.space == self.space)
        )
        if held:
            stored = connection.scalars(of_collection.with_only_columns(faces.c.key)).all()
            if gone := np.setdiff1d(held, stored).tolist():
                index.remove(gone)
        newest = held[-1] if held else 0
        rows = connection.execution_options(yield_per=_CHUNK).execute(
            of_collection.where(faces.c.key > newest)
        )
        for chunk in rows.partitions():
            keys, vectors = zip(*chunk, strict=True)
            index.add(keys, np.frombuffer(b"".join(vectors), np.float32).reshape(len(keys), -1))


def open_cache(
    location: Location, database: Database, space: str, size: int, form: IndexForm, *, threads: int
) -> Cache:
    """Create the cache in Milvus if the location names one, else in memory; not filled yet.

    Raises:
        FailedPrecondition: the Milvus client library is missing (EXTRA_MISSING).
        Unavailable: Milvus does not answer (INDEX_UNAVAILABLE).
    """

    def opened(space: str, size: int) -> FaceIndex:
        read = partial(read_embeddings, database, space)
        return open_index(form, read, size=size, threads=threads)

    if isinstance(location, Path) or location.milvus is None:
        return LocalCache(database, space, size, opened)
    try:
        from recognizer_service.gallery.index.shared_cache import SharedCache  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            "EXTRA_MISSING", "an index in Milvus needs pymilvus; install compactface[cluster]"
        ) from error
    return SharedCache(database, location.milvus, space, size)
