"""Merges two subjects that are one person."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, func, select, update

from recognizer_service.gallery import audit
from recognizer_service.gallery.audit import AuditEvent, Operation
from recognizer_service.gallery.collections import check_room
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import MAX_TAGS, canonical, shown
from recognizer_service.gallery.request_log import Request, recall, remember
from recognizer_service.gallery.storage.rows import collection_key, subject_key
from recognizer_service.gallery.storage.schema import (
    alert_rules,
    alerts,
    faces,
    identifications,
    subjects,
)
from recognizer_service.gallery.subjects import change_subject, count, read_subject
from recognizer_service.gallery.types import Subject, SubjectChanges
from shared.errors import FailedPrecondition, InvalidInput

# What refers to a subject and is about the person. Quiet times (`rings`) are left behind: a rule
# may then ring once too often, but is never silent by mistake.
_MOVED: Sequence[Table] = (faces, identifications, alert_rules, alerts)
_NO_FACES = (0,)  # a merge enrolls none


@dataclass(frozen=True, slots=True)
class Merged:
    """The result of a merge.

    Attributes:
        subject: the remaining subject.
        faces_moved: number of faces it got; 0 if repeated.
        repeated: whether the request was executed before.
        erasure: number for `Database.erased`; 0 if repeated, or if the database cannot report it.
    """

    subject: Subject
    faces_moved: int = 0
    repeated: bool = False
    erasure: int = 0


def merge(
    store: Store,
    collection_id: str,
    subject_id: str,
    merged_id: str,
    *,
    caller: str,
    request_id: str,
) -> Merged:
    """Merge a subject into another; see `Gallery.merge`."""
    subject_id, merged_id = canonical(subject_id), canonical(merged_id)
    if subject_id == merged_id:
        raise InvalidInput(
            "SAME_SUBJECT",
            f"subject {shown(merged_id)} cannot be merged into itself",
            field="merged_subject_id",
        )
    audit.check_caller(caller)
    digest = _digest(collection_id, subject_id, merged_id)
    request = Request(caller, request_id, digest) if request_id else None
    now = store.now()
    # Embeddings and their index refer to faces, whose keys stay.
    with store.changing(), store.database.writing() as connection:
        if request and recall(connection, request, now) is not None:
            key = subject_key(connection, collection_id, subject_id)
            return Merged(read_subject(connection, key), repeated=True)
        kept = subject_key(connection, collection_id, subject_id)
        merged = subject_key(connection, collection_id, merged_id, field="merged_subject_id")
        moved = _count_of(connection, merged)
        check_room(connection, kept, subject_id, moved)
        change_subject(connection, kept, _changes(connection, kept, merged))
        for table in _MOVED:
            connection.execute(
                update(table).where(table.c.subject_key == merged).values(subject_key=kept)
            )
        connection.execute(delete(subjects).where(subjects.c.key == merged))
        count(connection, collection_key(connection, collection_id), new_subjects=-1)
        for operation, whom in (
            (Operation.MERGE_SUBJECTS, subject_id),
            (Operation.DELETE_SUBJECT, merged_id),
        ):
            audit.record(connection, AuditEvent(now, caller, operation, collection_id, whom))
        if request:
            remember(connection, request, _NO_FACES, now)
        erasure = store.database.mark_erasure(connection)
        return Merged(read_subject(connection, kept), moved, erasure=erasure)


def _digest(*body: Any) -> bytes:
    return hashlib.sha256(json.dumps(["merge", *body]).encode()).digest()


def _count_of(connection: Connection, key: int) -> int:
    return connection.scalar(select(func.count()).where(faces.c.subject_key == key)) or 0


def _changes(connection: Connection, kept: int, merged: int) -> SubjectChanges:
    """The labels of both, and a name if there was none."""
    present, other = read_subject(connection, kept), read_subject(connection, merged)
    labels = sorted({*present.labels, *other.labels})
    if len(labels) > MAX_TAGS:
        raise FailedPrecondition(
            "TOO_MANY_LABELS",
            f"subjects {shown(present.subject_id)} and {shown(other.subject_id)} have "
            f"{len(labels)} labels together; at most {MAX_TAGS} are kept",
            field="merged_subject_id",
        )
    return {"labels": labels, "display_name": present.display_name or other.display_name}
