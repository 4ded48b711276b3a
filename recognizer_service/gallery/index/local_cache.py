"""Indexes in this process's memory, of a gallery that it has to itself."""

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
    """Indexes that die with the process, and are rebuilt when it starts; see `Cache`."""

    def __init__(self, database: Database, space: str, size: int, open_index: OpenIndex) -> None:
        """Begin without any.

        Args:
            database: what they are built from.
            space: of the embeddings in them.
            size: numbers in an embedding.
            open_index: opens the index of a collection.
        """
        self.space = space
        self.size = size
        self._database = database
        self._open_index = open_index
        self._indexes: dict[int, FaceIndex] = {}

    def __len__(self) -> int:
        """How many faces they hold."""
        return sum(map(len, self._indexes.values()))

    def index_of(self, collection_key: int) -> FaceIndex:
        """The index of a collection, made if it has none yet."""
        index = self._indexes.get(collection_key)
        if index is None:
            index = self._indexes.setdefault(
                collection_key, self._open_index(self.space, self.size)
            )
        return index

    def drop(self, collection_key: int) -> None:
        """Forget a collection that was deleted."""
        self._indexes.pop(collection_key, None)

    def open(self) -> None:
        """Load every collection's embeddings; see `Cache`."""
        with self._database.reading() as connection:
            check_embedded(connection, self.space)
        self.refresh()

    def in_space(self, space: str, size: int) -> "LocalCache":
        """Indexes of another space; see `Cache`."""
        other = LocalCache(self._database, space, size, self._open_index)
        other.refresh()
        return other

    def refresh(self) -> None:
        """Hold the faces that are embedded in their space, and no others.

        Costs little where little has changed. Right only as long as faces come with ever higher
        keys, which AUTOINCREMENT sees to, and are embedded in the order of their keys.
        """
        with self._database.reading() as connection:
            keys = connection.scalars(select(collections.c.key).where(~is_condemned())).all()
            for gone in self._indexes.keys() - set(keys):
                self.drop(gone)
            for key in keys:
                self._refresh(connection, key)

    def catch_up(self) -> None:
        """Nobody else changes the gallery, and a process that crashed took its indexes along."""

    def check_served(self) -> None:
        """Nobody else changes over to another space."""

    def serve(self) -> None:
        """Nobody else need know."""

    def discard_others(self) -> None:
        """There are no others."""

    def close(self) -> None:
        """There is nothing to close."""

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
    """In Milvus where the location names one, else in memory; not filled yet.

    Raises:
        FailedPrecondition: the client library of Milvus is missing (EXTRA_MISSING).
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
