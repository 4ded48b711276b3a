"""Deleting what has expired: subjects, sightings, request ids and old audit events."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from recognizer_service.gallery import audit, request_log, sighting
from recognizer_service.gallery.databases import mark_erasure
from recognizer_service.gallery.events import AuditEvent, Operation, Purge
from recognizer_service.gallery.schema import collections, subjects
from recognizer_service.gallery.store import Store
from recognizer_service.gallery.subject import remove_subject


def purge_expired(store: Store, *, audit_retention: timedelta) -> Purge:
    """Delete it and get its bytes off the disk; see `Gallery.purge_expired`."""
    now = store.now()
    with store.changing():
        with store.database.writing() as connection:
            gone = _delete_subjects(connection, now)
            sightings = sighting.delete_expired(connection, now)
            events = audit.delete_expired(connection, now, audit_retention)
            requests = connection.execute(request_log.expired(now)).rowcount
            if gone or sightings or events:
                mark_erasure(connection)
        for owner, face_keys in gone:
            store.index_of(owner).remove(face_keys)
    return Purge(
        sightings=sightings,
        subjects=len(gone),
        request_ids=requests,
        audit_events=events,
        erased=store.database.erase(),
    )


def _delete_subjects(connection: Connection, now: datetime) -> list[tuple[int, Sequence[int]]]:
    """Delete the expired subjects: for each, the key of its collection and those of its faces."""
    gone = []
    for row in _expired_subjects(connection, now):
        gone.append((row.collection_key, remove_subject(connection, row.collection_key, row.key)))
        event = AuditEvent(now, "", Operation.EXPIRE_SUBJECT, row.collection_id, row.id)
        audit.record(connection, event)
    return gone


def _expired_subjects(connection: Connection, now: datetime) -> Iterator[Any]:
    subject = select(
        subjects.c.key,
        subjects.c.id,
        subjects.c.collection_key,
        collections.c.id.label("collection_id"),
    ).join_from(subjects, collections)
    yield from connection.execute(subject.where(subjects.c.expires_at <= now)).all()
    keeping = select(collections.c.key, collections.c.subject_retention_s).where(
        collections.c.subject_retention_s > 0
    )
    for key, seconds in connection.execute(keeping).all():
        too_old = subjects.c.created_at <= now - timedelta(seconds=seconds)
        left_to_us = subjects.c.expires_at.is_(None)
        yield from connection.execute(
            subject.where(subjects.c.collection_key == key, left_to_us, too_old)
        ).all()
