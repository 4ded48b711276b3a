"""Who did what to whom: written in the transaction of the deed, kept for its own retention."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import MAX_ID_CHARACTERS, check_text
from recognizer_service.gallery.paging import read_page
from recognizer_service.gallery.storage.rows import asked_for
from recognizer_service.gallery.storage.schema import MAX_KEY, audit
from recognizer_service.gallery.types import Page


@dataclass(frozen=True, slots=True)
class Deletion:
    """What was deleted.

    Attributes:
        faces_deleted: faces that went.
        erasure: its number, for `Gallery.erased`: the bytes leave the disk in the background.
            0: the database cannot tell when.
    """

    faces_deleted: int
    erasure: int


class Operation(StrEnum):
    """What is audited."""

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


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One deed; ids and no names.

    Attributes:
        at: when, UTC.
        caller: who; "": unknown, or the service itself.
        operation: what.
        collection_id: where; "": in none.
        subject_id: to whom; "": to the collection.
    """

    at: datetime
    caller: str
    operation: Operation
    collection_id: str
    subject_id: str = ""


@dataclass(frozen=True, slots=True)
class Purge:
    """What had expired and was deleted.

    Attributes:
        sightings: sightings older than the retention of their collection.
        subjects: expired subjects.
        request_ids: remembered request ids.
        audit_events: events older than the retention of the audit log.
        erasure: as in `Deletion`; 0, too, if nothing was deleted.
        alerts: events of those sightings that nobody had been told of.
    """

    sightings: int
    subjects: int
    request_ids: int
    audit_events: int
    erasure: int
    alerts: int = 0


@dataclass(frozen=True, slots=True)
class Consistency:
    """What a check of the whole gallery found.

    Attributes:
        problems: one sentence each; none: the gallery is sound.
        subjects: subjects in the database.
        faces: faces in the database.
        indexed: faces in the search indexes.
    """

    problems: tuple[str, ...]
    subjects: int
    faces: int
    indexed: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


_EVENT = select(
    audit.c.key,
    audit.c.at,
    audit.c.caller,
    audit.c.operation,
    audit.c.collection_id,
    audit.c.subject_id,
)

_RECORD = insert(audit)  # made once: see `subject`


class AuditLog:
    """List what was done, and note what changes no row."""

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
        """Note a deed that has no transaction of its own, an export say; it is on the disk then."""
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
        """One page of the events, oldest first: of a collection, a subject, from a time; or all."""
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
    """Write an event, in the transaction of what it tells of.

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
    """Refuse the name of a caller that is too long or not printable."""
    check_text(caller, "caller", least=0, most=2 * MAX_ID_CHARACTERS)


def delete_expired(connection: Connection, now: datetime, retention: timedelta, most: int) -> int:
    """Delete up to `most` events of days that ended before the retention; how many there were.

    By whole days, UTC: so it is one erasure a day, and not one a minute.
    """
    midnight = datetime.combine((now - retention).astimezone(UTC), time.min, UTC)
    old = connection.scalars(select(audit.c.key).where(audit.c.at < midnight).limit(most)).all()
    return connection.execute(delete(audit).where(audit.c.key.in_(old))).rowcount


def parse_key(text: str) -> int:
    """A key, as a page token holds it; ValueError if it can be none."""
    key = int(text)
    if not 0 <= key <= MAX_KEY:
        raise ValueError(f"{key} is no key")
    return key


def _event(row: Any) -> AuditEvent:
    return AuditEvent(
        row.at, row.caller, Operation(row.operation), row.collection_id, row.subject_id
    )
