"""Embedding spaces: computing the embeddings of another extractor, and changing over to it.

A face keeps an embedding for each space it was embedded in. What is served is one space in
which every face has one; another is filled beside it, batch by batch, and each batch is
committed, so the rows themselves are the record of how far it has come. Nothing else is
written: a process that dies leaves a space that is complete or is not, and goes on from there.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, insert, select

from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import as_embedding
from recognizer_service.gallery.storage.rows import embedded_in, keep_space, size_of_space
from recognizer_service.gallery.storage.schema import collections, embeddings, faces
from shared.errors import FailedPrecondition

_BATCH = 64
_KEYS_PER_DELETE = 512

CodedPng = tuple[str, bytes]
"""A codec id and a map's PNG file."""


class MapEmbedder(Protocol):
    """An extractor, and the decoders that bring maps of several codecs before it."""

    @property
    def embedding_space(self) -> str:
        """Of the embeddings it makes."""

    @property
    def embedding_size(self) -> int:
        """Numbers in each of them."""

    def require(self, codec_ids: Iterable[str]) -> None:
        """Refuse, before work begins, what could not be finished.

        Raises:
            UnknownCodec: no decoder for one of the codecs.
        """

    def check(self, codec_id: str, png: bytes) -> None:
        """Refuse a map that cannot be decoded, of a codec that is known here.

        Raises:
            InvalidCompactMap: not a legal PNG of its codec.
        """

    def embed(self, maps: Sequence[CodedPng]) -> NDArray[np.float32]:
        """Unit vectors (N, D) of N maps.

        Raises:
            UnknownCodec: no decoder for one of the codecs.
            InvalidCompactMap: not a legal PNG of its codec.
        """


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a space is filled.

    Attributes:
        faces_done: faces that have an embedding in it.
        faces_total: faces in the gallery.
    """

    faces_done: int
    faces_total: int


class Spaces:
    """Fill an embedding space, change over to it, discard the others."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def served(self) -> str:
        """The space that is searched."""
        return self._store.embedding_space

    def progress(self, space: str) -> Progress:
        """How far a space is filled; reads every face's keys."""
        with self._store.database.reading() as connection:
            done = connection.scalar(
                select(func.count()).select_from(faces).where(embedded_in(space))
            )
            return Progress(done or 0, self._face_count())

    def codecs(self) -> tuple[str, ...]:
        """The codecs of all maps in the gallery; reads every face."""
        with self._store.database.reading() as connection:
            return tuple(connection.scalars(select(faces.c.codec_id).distinct()).all())

    def fill(self, embedder: MapEmbedder) -> Iterator[Progress]:
        """Embed every face that has no embedding in the embedder's space yet.

        Goes on where an earlier call, or a process that died, left off. Each step is committed
        before it is yielded. Searches and changes of the gallery go on meanwhile; faces that
        are enrolled before the last step are embedded too.

        Yields:
            The progress, first what was there already.

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
        """Search in another space from now on, in one step.

        The new indexes are built while the old ones serve; only the faces that came meanwhile
        are added with changes of the gallery held up.

        Raises:
            FailedPrecondition: faces were enrolled that `fill` has not seen, or was never run
                on (EMBEDDING_SPACE_INCOMPLETE); what was served is served still.
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
        """Delete the embeddings in all spaces but the one served; the erasure, as in `Deletion`.

        There is no way back to an earlier model then but to embed its space anew.
        """
        database = self._store.database
        self._store.cache.discard_others()
        with database.reading() as connection:
            newest = connection.scalar(select(func.max(embeddings.c.face_key))) or 0
        for first in range(0, newest + 1, _KEYS_PER_DELETE):
            with self._store.changing(), database.writing() as connection:
                others = (
                    embeddings.c.face_key.between(first, first + _KEYS_PER_DELETE - 1),
                    embeddings.c.space != self.served,
                )
                connection.execute(delete(embeddings).where(*others))
        with self._store.changing(), database.writing() as connection:
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
        """Store the embeddings of those faces that were not deleted meanwhile; how many."""
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
