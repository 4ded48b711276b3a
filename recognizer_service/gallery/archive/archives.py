"""Archives of collections: exports, a few subjects at a time, and imports."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, select

from recognizer_service.gallery.archive.contents import FORMAT, archived_columns, document_of
from recognizer_service.gallery.archive.format import Kind, RecordWriter
from recognizer_service.gallery.archive.importing import Importer
from recognizer_service.gallery.audit import AuditLog, Operation
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.reembed import MapEmbedder
from recognizer_service.gallery.storage.rows import collection_key
from recognizer_service.gallery.storage.schema import (
    FORMER_EMBEDDING_SIZE,
    collections,
    embeddings,
    faces,
    labels,
    subjects,
)
from recognizer_service.gallery.types import EmbeddingSpaceChanged

_SUBJECTS_PER_PAGE = 64


class Archives:
    """Exports and imports collections; docs/gallery-archive.md specifies the format."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def export(self, collection_id: str, *, caller: str = "") -> Iterator[bytes]:
        """Yield the archive of a collection, record by record.

        Each subject is a consistent snapshot. No transaction is held between subjects, so that a
        slow reader does not keep deleted bytes on disk. Subjects enrolled or deleted during the
        export may or may not be included; use a snapshot for a consistent copy of the whole
        gallery.

        Args:
            collection_id: the collection.
            caller: the caller, for the audit log.

        Raises:
            NotFound: no such collection, at once.
            EmbeddingSpaceChanged: the space changed during the export; export again.
        """
        with self._store.database.reading() as connection:
            collection_key(connection, collection_id)
        AuditLog(self._store).note(Operation.EXPORT, collection_id, caller=caller)
        return _records(self._store, collection_id)

    def importing(
        self, *, collection_id: str = "", embedder: MapEmbedder | None = None, caller: str = ""
    ) -> Importer:
        """Restore an archive: enter the result, `feed` it the bytes, and `finish`.

        Args:
            collection_id: a new or empty collection; "" for its original id.
            embedder: of the space served, for archives of another space; None refuses those.
            caller: the caller, for the audit log.
        """
        return Importer(self._store, collection_id=collection_id, embedder=embedder, caller=caller)


def _records(store: Store, collection_id: str) -> Iterator[bytes]:
    writer, cache = RecordWriter(), store.cache
    space = cache.space
    with store.database.reading() as connection:
        key = collection_key(connection, collection_id)
        header = writer.header(_header(connection, key, space, cache.size))
    yield header
    last_key = 0
    while True:
        with store.database.reading() as connection:
            page = _subjects(connection, key, after=last_key)
            labels_of = _labels(connection, [row.key for row in page])
            faces_of = _faces(connection, [row.key for row in page], space)
        if not page:
            break
        last_key = page[-1].key
        for subject in page:
            document = document_of(subject, subjects) | {"labels": labels_of[subject.key]}
            yield writer.record(Kind.SUBJECT, document)
            for face in faces_of[subject.key]:
                if face.vector is None:
                    raise EmbeddingSpaceChanged(given=space, served=store.embedding_space)
                document = document_of(face, faces) | {"png_bytes": len(face.png)}
                yield writer.record(Kind.FACE, document, face.png + face.vector)
    yield writer.end()


def _header(connection: Connection, key: int, space: str, size: int) -> dict[str, Any]:
    collection = connection.execute(
        select(*archived_columns(collections)).where(collections.c.key == key)
    ).one()
    codecs = connection.scalars(
        select(faces.c.codec_id).distinct().join(subjects).where(subjects.c.collection_key == key)
    )
    described = {"format": FORMAT, "embedding_size": size}
    if size == FORMER_EMBEDDING_SIZE:
        described = {"format": 1}
    return {
        **described,
        "embedding_space": space,
        "codecs": sorted(codecs),
        "collection": document_of(collection, collections),
    }


def _subjects(connection: Connection, key: int, *, after: int) -> Sequence[Any]:
    return connection.execute(
        select(subjects.c.key, *archived_columns(subjects))
        .where(subjects.c.collection_key == key, subjects.c.key > after)
        .order_by(subjects.c.key)
        .limit(_SUBJECTS_PER_PAGE)
    ).all()


def _labels(connection: Connection, owners: Sequence[int]) -> dict[int, list[str]]:
    query = select(labels).where(labels.c.subject_key.in_(owners)).order_by(labels.c.label)
    found: dict[int, list[str]] = {owner: [] for owner in owners}
    for row in connection.execute(query):
        found[row.subject_key].append(row.label)
    return found


def _faces(connection: Connection, owners: Sequence[int], space: str) -> dict[int, list[Any]]:
    rows = connection.execute(
        select(faces.c.subject_key, *archived_columns(faces), faces.c.png, embeddings.c.vector)
        .outerjoin(
            embeddings, (embeddings.c.face_key == faces.c.key) & (embeddings.c.space == space)
        )
        .where(faces.c.subject_key.in_(owners))
        .order_by(faces.c.key)
    )
    found: dict[int, list[Any]] = {owner: [] for owner in owners}
    for row in rows:
        found[row.subject_key].append(row)
    return found
