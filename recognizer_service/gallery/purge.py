"""Deletes expired subjects, sightings, request ids and audit events.

Each transaction deletes a limited number of rows, so that no writer waits long for the lock.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, select

from recognizer_service.gallery import audit, request_log
from recognizer_service.gallery.alerts import outbox
from recognizer_service.gallery.audit import AuditEvent, Operation, Purge
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.sightings import sightings, strangers
from recognizer_service.gallery.storage.rows import HIDDEN_PREFIX
from recognizer_service.gallery.storage.schema import collections, subjects
from recognizer_service.gallery.subjects import remove_subject

_SUBJECTS_AT_ONCE = 64  # up to 32 faces each
_ROWS_AT_ONCE = 512


def purge_expired(store: Store, *, audit_retention: timedelta) -> Purge:
    """Delete expired data; see `Gallery.purge_expired`."""
    now = store.clock.expiry()
    erasures = []

    def purge(delete_some: Callable[[Connection, datetime, int], int]) -> int:
        gone, erasure = store.delete_in_steps(
            lambda connection: delete_some(connection, now, _ROWS_AT_ONCE), most=_ROWS_AT_ONCE
        )
        erasures.append(erasure)
        return gone

    subjects_gone, erasure = _purge_subjects(store, now)
    erasures.append(erasure)
    alerts_gone = purge(outbox.delete_expired)
    sightings_gone = purge(sightings.delete_expired)
    purge(strangers.delete_empty)
    events_gone = purge(partial(audit.delete_expired, retention=audit_retention))
    with store.changing(), store.database.writing(deleting=True) as connection:
        requests = connection.execute(request_log.expired(now)).rowcount
        store.clock.keep(connection)
    return Purge(
        sightings=sightings_gone,
        subjects=subjects_gone,
        request_ids=requests,
        audit_events=events_gone,
        erasure=max(erasures),
        alerts=alerts_gone,
    )


def _purge_subjects(store: Store, now: datetime) -> tuple[int, int]:
    """Delete the expired subjects; see `Store.delete_in_steps`."""
    gone: list[tuple[int, Sequence[int]]] = []

    def delete_some(connection: Connection) -> int:
        gone[:] = _delete_subjects(connection, now)
        return len(gone)

    def unindex() -> None:
        for owner, face_keys in gone:
            store.index_of(owner).remove(face_keys)

    return store.delete_in_steps(delete_some, most=_SUBJECTS_AT_ONCE, committed=unindex)


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
