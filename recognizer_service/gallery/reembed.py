"""Embedding spaces: re-embedding faces with another extractor, and changing over to it.

A face has one embedding per space it was embedded in. One space, in which every face has an
embedding, is served; another is filled beside it. Each batch is committed, so the rows themselves
record the progress. After a crash, filling resumes where it stopped.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, insert, select

from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import as_embedding
from recognizer_service.gallery.storage.schema import collections, embeddings, faces
from recognizer_service.gallery.storage.spaces import embedded_in, keep_space, size_of_space
from shared.errors import FailedPrecondition

_BATCH = 64
_KEYS_PER_DELETE = 512

CodedPng = tuple[str, bytes]
"""A codec id and a map's PNG file."""


class MapEmbedder(Protocol):
    """An extractor with decoders for maps of several codecs."""

    @property
    def embedding_space(self) -> str:
        """The embedding space."""

    @property
    def embedding_size(self) -> int:
        """Dimension of the embeddings."""

    def require(self, codec_ids: Iterable[str]) -> None:
        """Check that all these codecs can be decoded, before work begins.

        Raises:
            UnknownCodec: no decoder for one of the codecs.
        """

    def check(self, codec_id: str, png: bytes) -> None:
        """Check that a map of a known codec can be decoded.

        Raises:
            InvalidCompactMap: not a legal PNG of its codec.
        """

    def embed(self, maps: Sequence[CodedPng]) -> NDArray[np.float32]:
        """Return unit vectors (N, D) of N maps.

        Raises:
            UnknownCodec: no decoder for one of the codecs.
            InvalidCompactMap: not a legal PNG of its codec.
        """


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of filling a space.

    Attributes:
        faces_done: number of faces with an embedding in it.
        faces_total: number of faces in the gallery.
    """

    faces_done: int
    faces_total: int


class Spaces:
    """Fills an embedding space, changes over to it, and discards the others."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def served(self) -> str:
        """The space that is searched."""
        return self._store.embedding_space

    def progress(self, space: str) -> Progress:
        """Return the progress of a space; reads the keys of all faces."""
        with self._store.database.reading() as connection:
            done = connection.scalar(
                select(func.count()).select_from(faces).where(embedded_in(space))
            )
            return Progress(done or 0, self._face_count())

    def codecs(self) -> tuple[str, ...]:
        """Return the codecs of all maps in the gallery; reads all faces."""
        with self._store.database.reading() as connection:
            return tuple(connection.scalars(select(faces.c.codec_id).distinct()).all())

    def fill(self, embedder: MapEmbedder) -> Iterator[Progress]:
        """Embed every face that has no embedding in the embedder's space yet.

        Resumes where an earlier call or a crashed process stopped. Each step is committed before it
        is yielded. Searches and changes continue meanwhile; faces enrolled before the last step are
        also embedded.

        Yields:
            The progress, first the initial one.

        Raises:
            UnknownCodec: no decoder for some of the maps; nothing was computed.
            InvalidCompactMap: a stored map cannot be decoded.
        """
        embedder.require(self.codecs())
        database = self._store.database
        with database.exclusive, database.writing() as connection:
            keep_space(connection, embedder.embedding_space, embedder.embedding_size)
        progress = self.progress(embedder.embedding_space)
        yield progress
        done, last_key = progress.faces_done, 0
        while batch := self._missing(embedder.embedding_space, after=last_key):
            last_key = batch[-1].key
            vectors = embedder.embed([(row.codec_id, row.png) for row in batch])
            keys = [row.key for row in batch]
            done += self._add(embedder, keys, vectors)
            total = self._face_count()
            yield Progress(min(done, total), total)

    def serve(self, space: str) -> None:
        """Change over to another space atomically.

        The new indexes are built while the old ones serve; changes wait only while the faces
        enrolled in the meantime are added.

        Raises:
            FailedPrecondition: some faces have no embedding in the space, as `fill` has not
                embedded them (EMBEDDING_SPACE_INCOMPLETE); the old space stays in use.
        """
        if space == self.served:
            return
        with self._store.database.reading() as connection:
            size = size_of_space(connection, space)
        if size is None:
            raise FailedPrecondition(
                "EMBEDDING_SPACE_INCOMPLETE", f"no face was ever embedded in space {space}"
            )
        cache = self._store.cache.in_space(space, size)
        with self._store.database.exclusive:
            cache.refresh()
            missing = self._face_count() - len(cache)
            if missing:
                raise FailedPrecondition(
                    "EMBEDDING_SPACE_INCOMPLETE",
                    f"{missing} faces have no embedding in space {space} yet",
                )
            cache.serve()
            self._store.cache = cache

    def discard_others(self) -> int:
        """Delete the embeddings of all spaces but the one served; return the erasure's number.

        Afterwards an earlier model can be used only by re-embedding the gallery. See `Deletion`.
        """
        database = self._store.database
        self._store.cache.discard_others()
        with database.reading() as connection:
            newest = connection.scalar(select(func.max(embeddings.c.face_key))) or 0
        for first in range(0, newest + 1, _KEYS_PER_DELETE):
            with self._store.changing(), database.writing(deleting=True) as connection:
                others = (
                    embeddings.c.face_key.between(first, first + _KEYS_PER_DELETE - 1),
                    embeddings.c.space != self.served,
                )
                connection.execute(delete(embeddings).where(*others))
        with self._store.changing(), database.writing(deleting=True) as connection:
            return database.mark_erasure(connection)

    def _face_count(self) -> int:
        with self._store.database.reading() as connection:
            return int(connection.scalar(select(func.sum(collections.c.face_count))) or 0)

    def _missing(self, space: str, *, after: int) -> Sequence[Any]:
        query = (
            select(faces.c.key, faces.c.codec_id, faces.c.png)
            .where(faces.c.key > after, ~embedded_in(space))
            .order_by(faces.c.key)
            .limit(_BATCH)
        )
        with self._store.database.reading() as connection:
            return connection.execute(query).all()

    def _add(self, embedder: MapEmbedder, keys: Sequence[int], vectors: NDArray[np.float32]) -> int:
        """Store the embeddings of faces that still exist; return how many were stored."""
        space, size = embedder.embedding_space, embedder.embedding_size
        rows = {
            key: {"face_key": key, "space": space, "vector": as_embedding(vector, size).tobytes()}
            for key, vector in zip(keys, vectors, strict=True)
        }
        database = self._store.database
        with self._store.changing(), database.writing() as connection:
            lacking = connection.scalars(
                select(faces.c.key).where(faces.c.key.in_(keys), ~embedded_in(space))
            ).all()
            if lacking:
                connection.execute(insert(embeddings), [rows[key] for key in lacking])
        return len(lacking)
