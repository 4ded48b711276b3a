"""Deletes expired subjects, sightings, request ids and audit events.

Each transaction deletes a limited number of rows, so that no writer waits long for the lock.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from recognizer_service.gallery import alert_outbox, audit, request_log, sightings
from recognizer_service.gallery.audit import AuditEvent, Operation, Purge
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.storage.rows import HIDDEN_PREFIX
from recognizer_service.gallery.storage.schema import collections, subjects
from recognizer_service.gallery.subjects import remove_subject

_SUBJECTS_AT_ONCE = 64  # up to 32 faces each
_ROWS_AT_ONCE = 512


def purge_expired(store: Store, *, audit_retention: timedelta) -> Purge:
    """Delete expired data; see `Gallery.purge_expired`."""
    now = store.clock.expiry()
    purging = _Purging(store)
    subjects_gone = purging.subjects(now)
    alerts_gone = purging.rows(
        lambda connection: alert_outbox.delete_expired(connection, now, _ROWS_AT_ONCE)
    )
    sightings_gone = purging.rows(
        lambda connection: sightings.delete_expired(connection, now, _ROWS_AT_ONCE)
    )
    events_gone = purging.rows(
        lambda connection: audit.delete_expired(connection, now, audit_retention, _ROWS_AT_ONCE)
    )
    with store.changing(), store.database.writing(deleting=True) as connection:
        requests = connection.execute(request_log.expired(now)).rowcount
        store.clock.keep(connection)
    return Purge(
        sightings=sightings_gone,
        subjects=subjects_gone,
        request_ids=requests,
        audit_events=events_gone,
        erasure=purging.erasure,
        alerts=alerts_gone,
    )


class _Purging:
    """Deletes in batches.

    Attributes:
        erasure: the last erasure, which completes after all others; 0 if nothing was deleted.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.erasure = 0

    def rows(self, delete_some: Callable[[Connection], int]) -> int:
        """Delete rows until none is left; return how many were deleted."""
        total = 0
        while True:
            with self._store.changing(), self._store.database.writing(deleting=True) as connection:
                gone = delete_some(connection)
                if gone:
                    self.erasure = self._store.database.mark_erasure(connection)
            total += gone
            if gone < _ROWS_AT_ONCE:
                return total

    def subjects(self, now: datetime) -> int:
        """Delete subjects until none is left; return how many were deleted."""
        total = 0
        while True:
            with self._store.changing():
                with self._store.database.writing(deleting=True) as connection:
                    gone = _delete_subjects(connection, now)
                    if gone:
                        self.erasure = self._store.database.mark_erasure(connection)
                for owner, face_keys in gone:
                    self._store.index_of(owner).remove(face_keys)
            total += len(gone)
            if len(gone) < _SUBJECTS_AT_ONCE:
                return total


def _delete_subjects(connection: Connection, now: datetime) -> list[tuple[int, Sequence[int]]]:
    """Delete some expired subjects; return the collection key and face keys of each."""
    gone = []
    for row in _expired_subjects(connection, now):
        gone.append((row.collection_key, remove_subject(connection, row.collection_key, row.key)))
        event = AuditEvent(now, "", Operation.EXPIRE_SUBJECT, row.collection_id, row.id)
        audit.record(connection, event)
    return gone


def _expired_subjects(connection: Connection, now: datetime) -> Sequence[Any]:
    subject = select(
        subjects.c.key,
        subjects.c.id,
        subjects.c.collection_key,
        collections.c.id.label("collection_id"),
    ).join_from(subjects, collections)
    subject = subject.where(~collections.c.id.startswith(HIDDEN_PREFIX))
    found = [
        *connection.execute(subject.where(subjects.c.expires_at <= now).limit(_SUBJECTS_AT_ONCE))
    ]
    keeping = select(collections.c.key, collections.c.subject_retention_s).where(
        collections.c.subject_retention_s > 0
    )
    for key, seconds in connection.execute(keeping).all():
        too_old = subjects.c.created_at <= now - timedelta(seconds=seconds)
        left_to_us = subjects.c.expires_at.is_(None)
        some = subject.where(subjects.c.collection_key == key, left_to_us, too_old)
        found += connection.execute(some.limit(_SUBJECTS_AT_ONCE))
    return found
