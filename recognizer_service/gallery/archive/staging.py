"""A hidden collection that is filled and then published whole or not at all.

It is a regular collection whose id no caller can name. Remains of a crash are deleted when the
gallery is opened next, or, if another process may still be filling it, when it is a day old.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, exists, insert, select, update

from recognizer_service.gallery import audit
from recognizer_service.gallery.archive.contents import ArchivedSubject
from recognizer_service.gallery.audit import AuditEvent, Operation
from recognizer_service.gallery.collections import condemn
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import shown
from recognizer_service.gallery.storage.rows import HIDDEN_PREFIX, find_collection, is_condemned
from recognizer_service.gallery.storage.schema import (
    collections,
    embeddings,
    faces,
    labels,
    sightings,
    subjects,
)
from recognizer_service.gallery.subjects import count
from shared.errors import AlreadyExists

_LONGEST_IMPORT = timedelta(days=1)


class Staging:
    """A collection being filled."""

    def __init__(self, store: Store, values: Mapping[str, Any]) -> None:
        """Create the hidden collection.

        Args:
            store: the gallery's store.
            values: the collection's row, without key and id.
        """
        self._store = store
        self._space = store.embedding_space
        row = {**values, "id": f"{_staged_until(store.now())}-{uuid4().hex}"}
        with store.changing(), store.database.writing() as connection:
            self._key: int = connection.execute(
                insert(collections).values(row).returning(collections.c.key)
            ).scalar_one()

    def known(self, subject_ids: Sequence[str]) -> set[str]:
        """Return which of these subjects it already holds."""
        query = select(subjects.c.id).where(
            subjects.c.collection_key == self._key, subjects.c.id.in_(subject_ids)
        )
        with self._store.database.reading() as connection:
            return set(connection.scalars(query))

    def add(self, batch: Sequence[ArchivedSubject]) -> None:
        """Add new subjects durably; embeddings are in the space served.

        Raises:
            EmbeddingSpaceChanged: the space served has changed since the start.
        """
        staged = [face for subject in batch for face in subject.faces]
        database = self._store.database
        with self._store.changing():
            cache = self._store.cache_in(self._space)
            vectors = np.array([face.embedding for face in staged], np.float32)
            with database.writing() as connection:
                face_keys = self._insert(connection, batch)
                if face_keys:
                    _insert_embeddings(connection, self._space, face_keys, vectors)
                count(connection, self._key, new_subjects=len(batch), new_faces=len(staged))
            if face_keys:
                cache.index_of(self._key).add(face_keys, vectors)

    def publish(self, collection_id: str, *, caller: str) -> None:
        """Rename it to its final id, replacing an empty collection of that id.

        Raises:
            AlreadyExists: a collection with that id is not empty (COLLECTION_EXISTS).
            EmbeddingSpaceChanged: as `add`.
        """
        event = AuditEvent(self._store.now(), caller, Operation.IMPORT, collection_id)
        database = self._store.database
        with self._store.changing():
            cache = self._store.cache_in(self._space)
            with database.writing() as connection:
                audit.record(connection, event)
                check_free(connection, collection_id)
                replaced = find_collection(connection, collection_id)
                connection.execute(delete(collections).where(collections.c.key == replaced))
                connection.execute(
                    update(collections)
                    .where(collections.c.key == self._key)
                    .values(id=collection_id)
                )
            if replaced is not None:
                cache.drop(replaced)

    def discard(self) -> None:
        """Delete the collection."""
        database = self._store.database
        with self._store.changing():
            with database.writing() as connection:
                condemn(connection, database, self._key)
                database.mark_erasure(connection)
            self._store.cache.drop(self._key)

    def _insert(self, connection: Connection, batch: Sequence[ArchivedSubject]) -> list[int]:
        rows = [{**subject.values, "collection_key": self._key} for subject in batch]
        owners = connection.scalars(
            insert(subjects).returning(subjects.c.key, sort_by_parameter_order=True), rows
        ).all()
        tags = [
            {"subject_key": owner, "label": label}
            for subject, owner in zip(batch, owners, strict=True)
            for label in subject.labels
        ]
        if tags:
            connection.execute(insert(labels), tags)
        new = [
            {**face.values, "subject_key": owner}
            for subject, owner in zip(batch, owners, strict=True)
            for face in subject.faces
        ]
        if not new:
            return []
        _give_free_ids(connection, new)
        keys = connection.scalars(
            insert(faces).returning(faces.c.key, sort_by_parameter_order=True), new
        )
        return list(keys)


def sweep(store: Store) -> None:
    """Delete what crashes left behind."""
    left = collections.c.id.startswith(HIDDEN_PREFIX) & ~is_condemned()
    with store.database.exclusive, store.database.writing(deleting=True) as connection:
        if not store.database.is_alone():
            left &= collections.c.id < _staged_until(store.clock.expiry() - _LONGEST_IMPORT)
        for key in connection.scalars(select(collections.c.key).where(left)).all():
            condemn(connection, store.database, key)
            store.database.mark_erasure(connection)


def _staged_until(time: datetime) -> str:
    """Return the id prefix of collections staged at a time; ids sort by time."""
    return f"{HIDDEN_PREFIX}{time:%Y%m%d%H%M%S}"


def check_free(connection: Connection, collection_id: str) -> None:
    """Raise COLLECTION_EXISTS if a collection with this id is not empty."""
    key = find_collection(connection, collection_id)
    held = exists().where(subjects.c.collection_key == key) | (
        exists().where(sightings.c.collection_key == key)
    )
    if key is not None and connection.scalar(select(held)):
        raise AlreadyExists(
            "COLLECTION_EXISTS",
            f"collection {shown(collection_id)} exists and is not empty; restore under another "
            "name, or delete it first",
            field="collection",
        )


def _give_free_ids(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Assign new ids to faces whose ids are taken, for example by the exported collection."""
    asked = select(faces.c.id).where(faces.c.id.in_([row["id"] for row in rows]))
    taken = set(connection.scalars(asked))
    for row in rows:
        if row["id"] in taken:
            row["id"] = uuid4().hex
        taken.add(row["id"])


def _insert_embeddings(
    connection: Connection, space: str, face_keys: Sequence[int], vectors: NDArray[np.float32]
) -> None:
    rows = [
        {"face_key": key, "space": space, "vector": vector.tobytes()}
        for key, vector in zip(face_keys, vectors, strict=True)
    ]
    connection.execute(insert(embeddings), rows)
