"""Converts ids to keys, and rows to records."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Exists, exists, func, insert, select

from recognizer_service.gallery.limits import shown
from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.storage.schema import (
    collections,
    embeddings,
    faces,
    labels,
    spaces,
    subjects,
)
from recognizer_service.gallery.texts import canonical
from recognizer_service.gallery.types import Face, Subject
from shared.errors import FailedPrecondition, NotFound

HIDDEN_PREFIX = "~"
"""Prefix of the ids of hidden collections, such as those being imported."""
CONDEMNED_PREFIX = 2 * HIDDEN_PREFIX
"""Prefix of the ids of deleted collections whose rows are being removed."""

_METADATA_CHARACTERS = 80
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


def asked_for(text: str) -> str:
    """Return the normalized form of an id; "", which is never an id, if the text is invalid.

    PostgreSQL refuses to compare text with NUL.
    """
    return "" if "\0" in text else canonical(text)


def find_collection(connection: Connection, collection_id: str) -> int | None:
    """Return the key of a collection; None if it does not exist."""
    collection_id = asked_for(collection_id)
    if collection_id.startswith(HIDDEN_PREFIX):
        return None
    key: int | None = connection.scalar(
        select(collections.c.key).where(collections.c.id == collection_id)
    )
    return key


def collection_key(connection: Connection, collection_id: str) -> int:
    """Return the key of a collection, or raise NotFound (COLLECTION_NOT_FOUND)."""
    key = find_collection(connection, collection_id)
    if key is None:
        raise collection_not_found(collection_id)
    return key


def find_subject(connection: Connection, collection_id: str, subject_id: str) -> int | None:
    """Return the key of a subject, None if it does not exist; NotFound for the collection."""
    return connection.scalar(
        select(subjects.c.key)
        .where(subjects.c.collection_key == collection_key(connection, collection_id))
        .where(subjects.c.id == asked_for(subject_id))
    )


def subject_key(
    connection: Connection, collection_id: str, subject_id: str, *, field: str = "subject_id"
) -> int:
    """Return the key of a subject, or raise NotFound (SUBJECT_NOT_FOUND) for a request's field."""
    key = find_subject(connection, collection_id, subject_id)
    if key is None:
        raise _not_found("subject", field, subject_id)
    return key


def face_key(connection: Connection, collection_id: str, face_id: str) -> int:
    """Return the key of a face, or raise NotFound (FACE_NOT_FOUND)."""
    key: int | None = connection.scalar(
        select(faces.c.key)
        .join(subjects)
        .where(subjects.c.collection_key == collection_key(connection, collection_id))
        .where(faces.c.id == asked_for(face_id))
    )
    if key is None:
        raise _not_found("face", "face_id", face_id)
    return key


def collection_not_found(collection_id: str) -> NotFound:
    """Return the error for an unknown collection."""
    return _not_found("collection", "collection", collection_id)


def sighting_not_found(sighting_id: str) -> NotFound:
    """Return the error for an unknown or expired sighting."""
    return _not_found("sighting", "sighting_id", sighting_id)


def _not_found(kind: str, field_name: str, name: str) -> NotFound:
    return NotFound(
        f"{kind.upper()}_NOT_FOUND",
        f"there is no {kind} {shown(name)}",
        field=field_name,
        metadata={field_name: name[:_METADATA_CHARACTERS]},
    )


_face_count = select(func.count()).where(faces.c.subject_key == subjects.c.key).scalar_subquery()
_LABEL_END = "\n"  # labels are printable, so they never contain it
_labels = (
    select(func.aggregate_strings(labels.c.label, _LABEL_END))
    .where(labels.c.subject_key == subjects.c.key)
    .scalar_subquery()
)
SUBJECT = select(
    subjects.c.id,
    subjects.c.display_name,
    subjects.c.created_at,
    _face_count.label("face_count"),
    subjects.c.metadata,
    _labels.label("labels"),
    subjects.c.expires_at,
    collections.c.subject_retention_s,
    subjects.c.revision,
).join_from(subjects, collections)
"""Selects the columns that `subject_of` reads."""

FACE = (
    select(
        faces.c.id,
        subjects.c.id.label("subject_id"),
        faces.c.codec_id,
        faces.c.png,
        faces.c.quality,
        faces.c.captured_at,
        faces.c.created_at,
    )
    .join(subjects)
    .order_by(faces.c.key)
)
"""Selects the columns that `face_of` reads, oldest first."""


def subject_of(row: Any) -> Subject:
    """Convert a row of `SUBJECT`."""
    expires_at = row.expires_at
    if expires_at is None and row.subject_retention_s:
        expires_at = _later(row.created_at, timedelta(seconds=row.subject_retention_s))
    return Subject(
        row.id,
        row.display_name,
        row.created_at,
        row.face_count,
        row.metadata,
        tuple(sorted(row.labels.split(_LABEL_END))) if row.labels else (),
        expires_at,
        row.revision,
    )


def _later(time: datetime, span: timedelta) -> datetime:
    """Add a span to a time, capped at the latest representable time."""
    return time + span if span <= _LAST_MOMENT - time else _LAST_MOMENT


def face_of(row: Any) -> Face:
    """Convert a row of `FACE`."""
    return Face(*row)


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


def read_embeddings(
    database: Database, space: str, keys: Sequence[int]
) -> tuple[list[int], NDArray[np.float32]]:
    """Return the existing faces among N keys: M keys, and M unit vectors.

    The vectors are (M, D), or (0, 0) if there are none.
    """
    query = select(embeddings.c.face_key, embeddings.c.vector).where(
        embeddings.c.face_key.in_(keys), embeddings.c.space == space
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
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
