"""Embeddings and their spaces in the database."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Exists, bindparam, exists, func, insert, select

from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.storage.schema import (
    FORMER_EMBEDDING_SIZE,
    embeddings,
    faces,
    spaces,
)
from shared.errors import FailedPrecondition

# Built once: SQLAlchemy takes longer to build a statement than SQLite to execute it.
_EMBEDDINGS = select(embeddings.c.face_key, embeddings.c.vector).where(
    embeddings.c.face_key.in_(bindparam("faces", expanding=True)),
    embeddings.c.space == bindparam("space"),
)


def vectors_of(rows: Sequence[Any]) -> NDArray[np.float32]:
    """Return the embeddings of at least one row of one space: (N, D)."""
    vectors = np.frombuffer(b"".join(row.vector for row in rows), np.float32)
    return vectors.reshape(len(rows), -1)


def size_of_space(connection: Connection, space: str) -> int | None:
    """Return the dimension of a space; None if the gallery has no record of it."""
    size: int | None = connection.scalar(select(spaces.c.size).where(spaces.c.id == space))
    return size


def keep_space(connection: Connection, space: str, size: int) -> None:
    """Record the dimension of a space, before its first embedding.

    Raises:
        FailedPrecondition: it has another size (EMBEDDING_SIZE_MISMATCH).
    """
    known = size_of_space(connection, space)
    if known is None:
        connection.execute(insert(spaces).values(id=space, size=size))
    else:
        check_size(space, known, size)


def check_size(space: str, known: int, size: int) -> None:
    """Raise EMBEDDING_SIZE_MISMATCH unless the size is that of the space."""
    if size != known:
        raise FailedPrecondition(
            "EMBEDDING_SIZE_MISMATCH",
            f"the gallery has embeddings of {known} numbers in space {space}, and the model says "
            f"{size}; one of the two is damaged",
            metadata={"gallery": str(known), "model": str(size)},
        )


def settled_size(database: Database, space: str, size: int | None) -> int:
    """Return the size of a space: as the gallery records it, else as given.

    Raises:
        FailedPrecondition: the two differ (EMBEDDING_SIZE_MISMATCH).
    """
    with database.reading() as connection:
        known = size_of_space(connection, space)
    if known is None:
        return FORMER_EMBEDDING_SIZE if size is None else size
    if size is not None:
        check_size(space, known, size)
    return known


def read_embeddings(
    database: Database, space: str, keys: Sequence[int]
) -> tuple[list[int], NDArray[np.float32]]:
    """Return the existing faces among N keys: M keys, and M unit vectors.

    The vectors are (M, D), or (0, 0) if there are none.
    """
    with database.reading() as connection:
        rows = connection.execute(_EMBEDDINGS, {"faces": keys, "space": space}).all()
    vectors = vectors_of(rows) if rows else np.empty((0, 0), np.float32)
    return [row.face_key for row in rows], vectors


def embedded_in(space: str) -> Exists:
    """Build the condition that a row of `faces` has an embedding in a space."""
    return exists().where(embeddings.c.face_key == faces.c.key, embeddings.c.space == space)


def check_embedded(connection: Connection, space: str) -> None:
    """Check that all faces have an embedding in a space; reads the keys of all faces.

    Raises:
        FailedPrecondition: they were embedded by another extractor (EMBEDDING_SPACE_MISMATCH;
            the metadata `gallery` names a space that can be opened), or by none
            (EMBEDDINGS_MISSING).
    """
    strangers = connection.scalar(
        select(func.count()).select_from(faces).where(~embedded_in(space))
    )
    if not strangers:
        return
    # During re-embedding several spaces have embeddings; only the one served has all.
    theirs = connection.scalar(
        select(embeddings.c.space)
        .where(embeddings.c.space != space)
        .group_by(embeddings.c.space)
        .order_by(func.count().desc())
        .limit(1)
    )
    if theirs is None:
        raise FailedPrecondition(
            "EMBEDDINGS_MISSING",
            f"{strangers} faces of the gallery have no embedding: the file was changed or "
            "damaged; serve a snapshot or restore an export",
        )
    raise FailedPrecondition(
        "EMBEDDING_SPACE_MISMATCH",
        f"{strangers} faces of the gallery were embedded in space {theirs}, and the model in use "
        f"embeds in {space}; the two cannot be compared: run `compactface gallery reembed`, or "
        f"serve the model of {theirs} again",
        metadata={"gallery": theirs, "model": space},
    )
