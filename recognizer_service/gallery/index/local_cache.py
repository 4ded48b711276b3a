"""Indexes in the memory of the only process that has the gallery open.

An index switches its form as it grows.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from recognizer_service.gallery.index import Cache, FaceIndex, OpenIndex
from recognizer_service.gallery.index.flat import FlatIndex
from recognizer_service.gallery.index.sketch import ReadEmbeddings, SketchIndex
from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.storage.locations import Location, Servers
from recognizer_service.gallery.storage.rows import is_condemned
from recognizer_service.gallery.storage.schema import collections, embeddings, faces, subjects
from recognizer_service.gallery.storage.spaces import check_embedded, read_embeddings
from recognizer_service.gallery.types import Embedding
from shared.errors import FailedPrecondition

IndexForm = Literal["auto", "float32", "float16", "sketch"]
"""How faces are kept in memory; "auto" chooses by their number.

A face of 512 numbers takes 2048, 1024 or 128 bytes, and 8 for its key.
"""

MOST_FLOAT32 = 200_000
MOST_FLOAT16 = 1_000_000
"""Number of faces of `_USUAL_SIZE` numbers up to which "auto" uses float16; for other sizes, as
many as take the same memory.
"""
_USUAL_SIZE = 512
_CHUNK = 4096


def open_index(form: IndexForm, read: ReadEmbeddings, *, size: int, threads: int) -> FaceIndex:
    """Open an empty index.

    Args:
        form: the form.
        read: reads the embeddings of candidates.
        size: dimension of the embeddings.
        threads: maximum number of threads per search.
    """
    if form == "float32":
        return FlatIndex(size=size, threads=threads)
    if form == "float16":
        return FlatIndex(size=size, threads=threads, half=True)
    if form == "sketch":
        return SketchIndex(read, size=size, threads=threads)
    most_float32, most_float16 = (
        most * _USUAL_SIZE // size for most in (MOST_FLOAT32, MOST_FLOAT16)
    )
    return GrowingIndex(
        FlatIndex(size=size, threads=threads),
        (most_float32, lambda: FlatIndex(size=size, threads=threads, half=True)),
        (most_float16, lambda: SketchIndex(read, size=size, threads=threads)),
    )


class GrowingIndex:
    """Starts in one form and switches to the next when it outgrows it."""

    def __init__(
        self, smallest: FlatIndex, *larger: tuple[int, Callable[[], FlatIndex | SketchIndex]]
    ) -> None:
        """Start with the smallest form.

        Args:
            smallest: an empty index.
            larger: for each further form, the maximum number of faces of the previous form, and a
                factory. Sketches must be last, as faces cannot be moved out of them.
        """
        self._index: FlatIndex | SketchIndex = smallest
        self._larger = list(larger)

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self._index)

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Add new faces; searches continue during a switch to another form."""
        while self._larger and len(self) + len(keys) > self._larger[0][0]:
            self._grow()
        self._index.add(keys, embeddings)

    def remove(self, keys: Sequence[int]) -> None:
        """Remove faces."""
        self._index.remove(keys)

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """Return the faces nearest to a unit vector: key to cosine in [-1, 1], best first."""
        return self._index.nearest(embedding, count)

    def keys(self) -> list[int]:
        """Return the keys of all faces, ascending."""
        return self._index.keys()

    def _grow(self) -> None:
        _, make = self._larger.pop(0)
        larger = make()
        assert isinstance(self._index, FlatIndex)  # sketches come last
        for keys, vectors in self._index.contents():
            larger.add(keys.tolist(), vectors)
        self._index = larger


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

    if not isinstance(location, Servers) or location.milvus is None:
        return LocalCache(database, space, size, opened)
    try:
        from recognizer_service.gallery.index.shared_cache import SharedCache  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            "EXTRA_MISSING", "an index in Milvus needs pymilvus; install compactface[cluster]"
        ) from error
    return SharedCache(database, location.milvus, space, size)
