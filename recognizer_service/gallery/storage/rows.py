"""How ids become keys, and rows become records."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from recognizer_service.gallery.limits import shown
from recognizer_service.gallery.records import Face, Subject
from recognizer_service.gallery.schema import collections, faces, labels, subjects
from recognizer_service.gallery.texts import canonical
from shared.errors import NotFound

HIDDEN_PREFIX = "~"
"""Begins the ids of collections that no caller can see or name: those still being imported."""
CONDEMNED_PREFIX = 2 * HIDDEN_PREFIX
"""Begins the ids of those that are deleted, and whose rows are going."""

_METADATA_CHARACTERS = 80
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


def asked_for(text: str) -> str:
    """The id that a caller means, in its one spelling; "", which is none, for what cannot be one.

    PostgreSQL refuses to compare a text that holds NUL.
    """
    return "" if "\0" in text else canonical(text)


def find_collection(connection: Connection, collection_id: str) -> int | None:
    """The key of a collection, None if there is none."""
    collection_id = asked_for(collection_id)
    if collection_id.startswith(HIDDEN_PREFIX):
        return None
    key: int | None = connection.scalar(
        select(collections.c.key).where(collections.c.id == collection_id)
    )
    return key


def collection_key(connection: Connection, collection_id: str) -> int:
    """The key of a collection, or NotFound (COLLECTION_NOT_FOUND)."""
    key = find_collection(connection, collection_id)
    if key is None:
        raise collection_not_found(collection_id)
    return key


def find_subject(connection: Connection, collection_id: str, subject_id: str) -> int | None:
    """The key of a subject, None if there is none, or NotFound for the collection."""
    return connection.scalar(
        select(subjects.c.key)
        .where(subjects.c.collection_key == collection_key(connection, collection_id))
        .where(subjects.c.id == asked_for(subject_id))
    )


def subject_key(connection: Connection, collection_id: str, subject_id: str) -> int:
    """The key of a subject, or NotFound (SUBJECT_NOT_FOUND)."""
    key = find_subject(connection, collection_id, subject_id)
    if key is None:
        raise _not_found("subject", "subject_id", subject_id)
    return key


def face_key(connection: Connection, collection_id: str, face_id: str) -> int:
    """The key of a face, or NotFound (FACE_NOT_FOUND)."""
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
    """The error for a collection that there is not."""
    return _not_found("collection", "collection", collection_id)


def sighting_not_found(sighting_id: str) -> NotFound:
    """The error for a sighting that is unknown or has expired."""
    return _not_found("sighting", "sighting_id", sighting_id)


def _not_found(kind: str, field_name: str, name: str) -> NotFound:
    return NotFound(
        f"{kind.upper()}_NOT_FOUND",
        f"there is no {kind} {shown(name)}",
        field=field_name,
        metadata={field_name: name[:_METADATA_CHARACTERS]},
    )


_face_count = select(func.count()).where(faces.c.subject_key == subjects.c.key).scalar_subquery()
_LABEL_END = "\n"  # no label holds it: labels are printable
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
"""Selects what `subject_of` reads."""

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
"""Selects what `face_of` reads, oldest first."""


def subject_of(row: Any) -> Subject:
    """A row of `SUBJECT` as a record."""
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
    """So much later, or the last moment there is."""
    return time + span if span <= _LAST_MOMENT - time else _LAST_MOMENT


def face_of(row: Any) -> Face:
    """A row of `FACE` as a record."""
    return Face(*row)
