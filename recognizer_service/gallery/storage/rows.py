"""Queries that several operations share: ids to keys, rows to records, search in names."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection, bindparam, func, literal, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from recognizer_service.gallery.limits import canonical, folded, shown
from recognizer_service.gallery.storage.schema import collections, faces, labels, subjects
from recognizer_service.gallery.types import Face, Subject
from shared.errors import NotFound

HIDDEN_PREFIX = "~"
"""Prefix of the ids of hidden collections, such as those being imported."""
CONDEMNED_PREFIX = 2 * HIDDEN_PREFIX
"""Prefix of the ids of deleted collections whose rows are being removed."""

_METADATA_CHARACTERS = 80
_KEY_OF_COLLECTION = select(collections.c.key).where(collections.c.id == bindparam("id"))
_KEY_OF_SUBJECT = (
    select(subjects.c.key)
    .where(subjects.c.collection_key == bindparam("owner"))
    .where(subjects.c.id == bindparam("id"))
)
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


def asked_for(text: str) -> str:
    """Return the normalized form of an id; "", which is never an id, if the text is invalid.

    PostgreSQL refuses to compare text with NUL.
    """
    return "" if "\0" in text else canonical(text)


def visible(collection_id: str) -> str:
    """Return the normalized id of a collection; "" if callers cannot see it."""
    collection_id = asked_for(collection_id)
    return "" if collection_id.startswith(HIDDEN_PREFIX) else collection_id


def find_collection(connection: Connection, collection_id: str) -> int | None:
    """Return the key of a collection; None if it does not exist."""
    key: int | None = connection.scalar(_KEY_OF_COLLECTION, {"id": visible(collection_id)})
    return key


def collection_key(connection: Connection, collection_id: str) -> int:
    """Return the key of a collection, or raise NotFound (COLLECTION_NOT_FOUND)."""
    key = find_collection(connection, collection_id)
    if key is None:
        raise collection_not_found(collection_id)
    return key


def find_subject(connection: Connection, collection_id: str, subject_id: str) -> int | None:
    """Return the key of a subject, None if it does not exist; NotFound for the collection."""
    owner = collection_key(connection, collection_id)
    key: int | None = connection.scalar(
        _KEY_OF_SUBJECT, {"owner": owner, "id": asked_for(subject_id)}
    )
    return key


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


def stranger_not_found(number: int) -> NotFound:
    """Return the error for a stranger that is unknown, named, or expired."""
    return _not_found("stranger", "stranger_number", str(number))


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


def is_condemned() -> ColumnElement[bool]:
    """Build the condition for condemned collections."""
    return collections.c.id.startswith(CONDEMNED_PREFIX)


class name_contains(FunctionElement[bool]):  # noqa: N801 - an SQL function
    """Whether the first text contains the second."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, name: ColumnElement[str], part: str) -> None:
        super().__init__(name, literal(part), literal(folded(part)))


@compiles(name_contains, "sqlite")
def _in_sqlite(element: name_contains, compiler: SQLCompiler, **options: Any) -> str:
    name, _, folded_part = element.clauses
    return compiler.process(func.instr(func.folded(name), folded_part) > 0, **options)


@compiles(name_contains, "postgresql")
def _in_postgres(element: name_contains, compiler: SQLCompiler, **options: Any) -> str:
    name, part, _ = (func.lower(func.normalize(clause, text("NFKC"))) for clause in element.clauses)
    return compiler.process(func.strpos(name, part) > 0, **options)
