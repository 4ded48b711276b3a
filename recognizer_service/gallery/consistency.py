"""Consistency check: the database file, its counts, and the indexes against the database."""

from collections.abc import Iterator

import numpy as np
from sqlalchemy import Connection, FromClause, func, select

from recognizer_service.gallery.audit import Consistency
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import LENGTH_TOLERANCE, shown
from recognizer_service.gallery.storage.rows import is_condemned
from recognizer_service.gallery.storage.schema import (
    collections,
    embeddings,
    faces,
    spaces,
    subjects,
)
from recognizer_service.gallery.storage.spaces import vectors_of

_CHUNK = 4096


def check(store: Store) -> Consistency:
    """Check everything; writes to the gallery wait meanwhile."""
    with store.changing():
        problems = list(store.database.problems())
        with store.database.reading() as connection:
            problems += _differences(connection, store)
            problems += _damaged_embeddings(connection)
            return Consistency(
                problems=tuple(problems),
                subjects=_count(connection, subjects.join(collections)),
                faces=_count(connection, faces.join(subjects).join(collections)),
                indexed=len(store.cache),
            )


def _count(connection: Connection, rows: FromClause) -> int:
    query = select(func.count()).select_from(rows).where(~is_condemned())
    return connection.scalar(query) or 0


def _differences(connection: Connection, store: Store) -> Iterator[str]:
    for row in connection.execute(select(collections).where(~is_condemned())).all():
        name = f"collection {shown(row.id)}"
        of_collection = subjects.c.collection_key == row.key
        subject_count = connection.scalar(
            select(func.count()).select_from(subjects).where(of_collection)
        )
        if subject_count != row.subject_count:
            yield f"{name} counts {row.subject_count} subjects and holds {subject_count}"
        stored = connection.scalars(
            select(faces.c.key).join(subjects).where(of_collection).order_by(faces.c.key)
        ).all()
        if len(stored) != row.face_count:
            yield f"{name} counts {row.face_count} faces and holds {len(stored)}"
        indexed = store.index_of(row.key).keys()
        if indexed != stored:
            missing, surplus = set(stored) - set(indexed), set(indexed) - set(stored)
            yield (
                f"{name} holds {len(stored)} faces and its index {len(indexed)}: "
                f"{len(missing)} missing, {len(surplus)} surplus"
            )


def _damaged_embeddings(connection: Connection) -> Iterator[str]:
    for space, size in connection.execute(select(spaces.c.id, spaces.c.size)).all():
        yield from _damaged_in_space(connection, space, size)


def _damaged_in_space(connection: Connection, space: str, size: int) -> Iterator[str]:
    rows = connection.execution_options(yield_per=_CHUNK).execute(
        select(embeddings.c.face_key, embeddings.c.vector).where(embeddings.c.space == space)
    )
    for found in rows.partitions():
        chunk = [row for row in found if len(row.vector) == 4 * size]
        for row in found:
            if len(row.vector) != 4 * size:
                yield (
                    f"face {row.face_key} has an embedding of {len(row.vector)} bytes in space "
                    f"{space}, not of {4 * size}"
                )
        if not chunk:
            continue
        lengths = np.linalg.norm(vectors_of(chunk), axis=1)
        for row, length in zip(chunk, lengths, strict=True):
            if not abs(length - 1) <= LENGTH_TOLERANCE:  # NaN fails every comparison
                yield f"face {row.face_key} has an embedding of length {length:.6g}, not 1"
