"""The audit log: written in the transaction of each operation, with its own retention."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import MAX_ID_CHARACTERS, check_text
from recognizer_service.gallery.paging import Page, parse_key, read_page
from recognizer_service.gallery.storage.rows import asked_for
from recognizer_service.gallery.storage.schema import audit


@dataclass(frozen=True, slots=True)
class Deletion:
    """The result of a deletion.

    Attributes:
        faces_deleted: number of faces deleted.
        erasure: number for `Database.erased`; the bytes are erased from disk in the background.
            0 if the database cannot report erasure.
    """

    faces_deleted: int
    erasure: int


class Operation(StrEnum):
    """Audited operations."""

    CREATE_COLLECTION = "create_collection"
    UPDATE_COLLECTION = "update_collection"
    DELETE_COLLECTION = "delete_collection"
    ENROLL = "enroll"
    UPDATE_SUBJECT = "update_subject"
    DELETE_SUBJECT = "delete_subject"
    DELETE_FACE = "delete_face"
    EXPIRE_SUBJECT = "expire_subject"
    EXPORT = "export"
    IMPORT = "import"
    EMBED = "embed"
    RECONSTRUCT = "reconstruct"
    DELETE_SIGHTINGS = "delete_sightings"
    CREATE_ALERT_RULE = "create_alert_rule"
    DELETE_ALERT_RULE = "delete_alert_rule"
    MERGE_SUBJECTS = "merge_subjects"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One audited operation; holds ids, no names.

    Attributes:
        at: when, UTC.
        caller: the caller; "" if unknown or the service itself.
        operation: the operation.
        collection_id: the collection; "" for none.
        subject_id: the subject; "" for the whole collection.
    """

    at: datetime
    caller: str
    operation: Operation
    collection_id: str
    subject_id: str = ""


@dataclass(frozen=True, slots=True)
class Purge:
    """Numbers of expired items that were deleted.

    Attributes:
        sightings: sightings older than the retention of their collection.
        subjects: expired subjects.
        request_ids: expired request ids.
        audit_events: events older than the retention of the audit log.
        erasure: as in `Deletion`; also 0 if nothing was deleted.
        alerts: undelivered alerts of those sightings.
    """

    sightings: int
    subjects: int
    request_ids: int
    audit_events: int
    erasure: int
    alerts: int = 0


@dataclass(frozen=True, slots=True)
class Consistency:
    """The result of a consistency check of the whole gallery.

    Attributes:
        problems: one sentence each; empty if the gallery is consistent.
        subjects: number of subjects in the database.
        faces: number of faces in the database.
        indexed: number of faces in the search indexes.
    """

    problems: tuple[str, ...]
    subjects: int
    faces: int
    indexed: int

    @property
    def ok(self) -> bool:
        """Whether no problems were found."""
        return not self.problems


_EVENT = select(
    audit.c.key,
    audit.c.at,
    audit.c.caller,
    audit.c.operation,
    audit.c.collection_id,
    audit.c.subject_id,
)

_RECORD = insert(audit)  # built once: see `subject`


class AuditLog:
    """Lists events and records operations that change no row."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(
        self,
        operation: Operation,
        collection_id: str,
        *,
        subject_id: str = "",
        caller: str = "",
    ) -> None:
        """Record an operation without a transaction of its own, durably; for example an export."""
        event = AuditEvent(self._store.now(), caller, operation, collection_id, subject_id)
        with self._store.changing(), self._store.database.writing() as connection:
            record(connection, event)

    def list(
        self,
        *,
        collection_id: str = "",
        subject_id: str = "",
        since: datetime | None = None,
        page_size: int = 100,
        page_token: str = "",
    ) -> Page[AuditEvent]:
        """Return one page of events, oldest first, by collection, subject or start time."""
        query = _EVENT
        if collection_id:
            query = query.where(audit.c.collection_id == asked_for(collection_id))
        if subject_id:
            query = query.where(audit.c.subject_id == asked_for(subject_id))
        if since:
            query = query.where(audit.c.at >= since)
        with self._store.database.reading() as connection:
            return read_page(
                connection,
                query,
                by=audit.c.key,
                record=_event,
                size=page_size,
                token=page_token,
                parse=parse_key,
            )


def record(connection: Connection, event: AuditEvent) -> None:
    """Write an event in the transaction of its operation.

    Raises:
        InvalidInput: as `check_caller`.
    """
    check_caller(event.caller)
    connection.execute(
        _RECORD,
        {
            "at": event.at,
            "caller": event.caller,
            "operation": event.operation.value,
            "collection_id": event.collection_id,
            "subject_id": event.subject_id,
        },
    )


def check_caller(caller: str) -> None:
    """Refuse a caller name that is too long or not printable."""
    check_text(caller, "caller", least=0, most=2 * MAX_ID_CHARACTERS)


def delete_expired(
    connection: Connection, now: datetime, most: int, *, retention: timedelta
) -> int:
    """Delete up to `most` events of days before the retention; return how many were deleted.

    Works in whole UTC days, so that there is one erasure a day instead of one a minute.
    """
    midnight = datetime.combine((now - retention).astimezone(UTC), time.min, UTC)
    old = connection.scalars(select(audit.c.key).where(audit.c.at < midnight).limit(most)).all()
    return connection.execute(delete(audit).where(audit.c.key.in_(old))).rowcount


def _event(row: Any) -> AuditEvent:
    return AuditEvent(
        row.at, row.caller, Operation(row.operation), row.collection_id, row.subject_id
    )
