"""Enrollment: adds all faces or none, and at most once per request id."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, insert, select

from recognizer_service.gallery import audit
from recognizer_service.gallery.audit import AuditEvent, Operation
from recognizer_service.gallery.codec_thresholds import CodecThresholds
from recognizer_service.gallery.collections import check_quotas, check_room
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import as_embedding, canonical, check_enrolment, shown
from recognizer_service.gallery.request_log import Request, digest_of, recall, remember
from recognizer_service.gallery.search import search
from recognizer_service.gallery.storage.rows import FACE, collection_key, face_of, find_subject
from recognizer_service.gallery.storage.schema import embeddings, faces, subjects
from recognizer_service.gallery.storage.spaces import vectors_of
from recognizer_service.gallery.subjects import change_subject, count, insert_labels, read_subject
from recognizer_service.gallery.types import (
    Agreement,
    Enrolled,
    Enrolment,
    NewFace,
    Resemblance,
    SubjectHit,
)
from shared.errors import AlreadyExists, FailedPrecondition

# Built once: SQLAlchemy takes longer to build a statement than SQLite to execute it.
_EMBEDDED = (
    select(faces.c.key, faces.c.id, faces.c.codec_id, embeddings.c.vector)
    .join_from(faces, embeddings)
    .where(faces.c.subject_key == bindparam("subject"), embeddings.c.space == bindparam("space"))
    .where(faces.c.key <= bindparam("last"))
    .order_by(faces.c.key)
)
_ADDED = FACE.add_columns(faces.c.subject_key).where(
    faces.c.key.in_(bindparam("faces", expanding=True))
)
_INSERT_SUBJECT = insert(subjects).returning(subjects.c.key)
_INSERT_FACE = insert(faces).returning(faces.c.key)
_INSERT_EMBEDDINGS = insert(embeddings)


def agreements(
    connection: Connection, subject: int, new: Sequence[int], space: str
) -> tuple[Agreement, ...]:
    """Return the agreement of each new face, by key; empty if there is nothing to compare with.

    Args:
        connection: to read on.
        subject: key of the subject.
        new: keys of the new faces; earlier faces have lower keys.
        space: space of the comparison; faces without an embedding in it are left out.
    """
    asked = {"subject": subject, "space": space, "last": max(new)}
    rows = connection.execute(_EMBEDDED, asked).all()
    added = [row for row in rows if row.key in new]
    compared = [row for row in rows if row.key < min(new)] or added
    if not added or len(rows) == 1:
        return ()
    cosines = np.clip(np.inner(vectors_of(added), vectors_of(compared)), -1, 1).tolist()
    return tuple(
        Agreement(
            face_id=face.id,
            codec_id=face.codec_id,
            others=tuple(
                Resemblance(other.id, other.codec_id, similarity)
                for other, similarity in zip(compared, similarities, strict=True)
                if other.id != face.id
            ),
        )
        for face, similarities in zip(added, cosines, strict=True)
    )


def enroll(
    store: Store,
    collection_id: str,
    enrolment: Enrolment,
    *,
    caller: str,
    request_id: str,
    duplicates: Mapping[str, CodecThresholds] | None,
    space: str | None = None,
) -> Enrolled:
    """Add faces to a new or existing subject; see `Gallery.enroll`."""
    # Check the space before the size: callers with another space must embed again anyway.
    check_enrolment(enrolment, store.cache_in(space).size)
    enrolment = _canonical(enrolment)
    request = _request(
        collection_id, enrolment, caller, request_id, refuse_duplicates=duplicates is not None
    )
    with store.changing():
        if request and (earlier := _earlier_answer(store, request)):
            return earlier
        store.cache_in(space)  # cannot change while the lock is held
        if duplicates is not None:
            _refuse_duplicates(store, collection_id, enrolment, duplicates)
        return _add(store, collection_id, enrolment, caller, request)


def enrolled_before(
    store: Store,
    collection_id: str,
    enrolment: Enrolment,
    *,
    caller: str,
    request_id: str,
    refuse_duplicates: bool,
) -> Enrolled | None:
    """Return the answer to an earlier request; see `Strangers.named_before`."""
    request = _request(
        collection_id,
        _canonical(enrolment),
        caller,
        request_id,
        refuse_duplicates=refuse_duplicates,
    )
    return _earlier_answer(store, request) if request else None


def _request(
    collection_id: str,
    enrolment: Enrolment,
    caller: str,
    request_id: str,
    *,
    refuse_duplicates: bool,
) -> Request | None:
    if not request_id:
        return None
    digest = digest_of(collection_id, enrolment, refuse_duplicates=refuse_duplicates)
    return Request(caller, request_id, digest)


def _canonical(enrolment: Enrolment) -> Enrolment:
    """Return a copy with normalized id and labels, which are compared."""
    subject_id = enrolment.subject_id
    return replace(
        enrolment,
        subject_id=None if subject_id is None else canonical(subject_id),
        labels=tuple(map(canonical, enrolment.labels)),
    )


def _earlier_answer(store: Store, request: Request) -> Enrolled | None:
    with store.database.reading() as connection:
        keys = recall(connection, request, store.clock.expiry())
        if keys is None:
            return None
        return _answer(connection, keys, store.embedding_space, repeated=True)


def _refuse_duplicates(
    store: Store,
    collection_id: str,
    enrolment: Enrolment,
    duplicates: Mapping[str, CodecThresholds],
) -> None:
    for position, face in enumerate(enrolment.faces):
        thresholds = duplicates[face.codec_id]
        for hit in search(store, collection_id, face.embedding, 2, thresholds=thresholds):
            if hit.subject_id == enrolment.subject_id:
                continue
            if thresholds.margin(hit.codec_id, hit.similarity) < 0:
                continue
            if not thresholds.knows(hit.codec_id):
                raise _undecided(position, face.codec_id, hit)
            raise AlreadyExists(
                "DUPLICATE_FACE",
                f"the face looks like subject {shown(hit.subject_id)}, who is enrolled; "
                "enroll it there, or allow duplicates",
                field=f"maps[{position}]",
                metadata={"subject_id": hit.subject_id},
            )


def _undecided(position: int, codec_id: str, hit: SubjectHit) -> FailedPrecondition:
    return FailedPrecondition(
        "NOT_CALIBRATED",
        f"the face may look like subject {shown(hit.subject_id)}, who is enrolled, but the model "
        f"has no calibration for codec {codec_id!r} against {hit.codec_id!r}; enroll it there, or "
        "allow duplicates",
        field=f"maps[{position}]",
        metadata={
            "subject_id": hit.subject_id,
            "probe_codec": codec_id,
            "enrolled_codec": hit.codec_id,
        },
    )


def _add(
    store: Store, collection_id: str, enrolment: Enrolment, caller: str, request: Request | None
) -> Enrolled:
    """Commit first, so that the index never shows faces that a crash would revert."""
    now = store.now()
    size = store.embedding_size
    vectors = np.stack([as_embedding(face.embedding, size) for face in enrolment.faces])
    with store.database.writing() as connection:
        owner = collection_key(connection, collection_id)
        present, subject_id = _present_subject(connection, collection_id, enrolment)
        added = {"new_subjects": int(present is None), "new_faces": len(enrolment.faces)}
        check_quotas(connection, owner, **added)
        count(connection, owner, **added)
        subject = present or _create_subject(connection, owner, subject_id, enrolment, now)
        face_keys = [_insert_face(connection, subject, face, now) for face in enrolment.faces]
        _insert_embeddings(connection, store.embedding_space, face_keys, vectors)
        if request:
            remember(connection, request, face_keys, now)
        answer = _answer(connection, face_keys, store.embedding_space, repeated=False)
        subject_id = answer.subject.subject_id
        event = AuditEvent(now, caller, Operation.ENROLL, collection_id, subject_id)
        audit.record(connection, event)
    store.index_of(owner).add(face_keys, vectors)
    return answer


def _present_subject(
    connection: Connection, collection_id: str, enrolment: Enrolment
) -> tuple[int | None, str]:
    """Return the key of the subject, which is updated and has room, and its id; no key if new."""
    subject_id = enrolment.subject_id or str(uuid4())
    key = find_subject(connection, collection_id, subject_id)
    if key is None:
        return None, subject_id
    if enrolment.create_only:
        raise AlreadyExists(
            "SUBJECT_EXISTS", f"subject {shown(subject_id)} exists", field="subject_id"
        )
    check_room(connection, key, subject_id, len(enrolment.faces))
    if changes := enrolment.about():
        change_subject(connection, key, changes)
    return key, subject_id


def _create_subject(
    connection: Connection, owner: int, subject_id: str, enrolment: Enrolment, now: datetime
) -> int:
    columns: dict[str, Any] = {"display_name": "", **enrolment.about()}
    names = columns.pop("labels", ())
    columns |= {"collection_key": owner, "id": subject_id, "created_at": now}
    key: int = connection.execute(_INSERT_SUBJECT, columns).scalar_one()
    insert_labels(connection, key, names)
    return key


def _insert_face(connection: Connection, subject: int, face: NewFace, now: datetime) -> int:
    columns = {
        "subject_key": subject,
        "id": uuid4().hex,
        "codec_id": face.codec_id,
        "png": face.png,
        "quality": face.quality,
        "captured_at": face.captured_at,
        "created_at": now,
    }
    key: int = connection.execute(_INSERT_FACE, columns).scalar_one()
    return key


def _answer(
    connection: Connection, face_keys: Sequence[int], space: str, *, repeated: bool
) -> Enrolled:
    found = connection.execute(_ADDED, {"faces": face_keys}).all()
    if not found:
        raise FailedPrecondition(
            "ENROLMENT_DELETED",
            "this request enrolled faces that have been deleted since; use a new request id to "
            "enroll them again",
            field="request_id",
        )
    owner = found[0].subject_key
    return Enrolled(
        subject=read_subject(connection, owner),
        faces=tuple(face_of(row[:-1]) for row in found),
        repeated=repeated,
        agreements=agreements(connection, owner, face_keys, space),
    )


def _insert_embeddings(
    connection: Connection, space: str, face_keys: Sequence[int], vectors: NDArray[np.float32]
) -> None:
    rows = [
        {"face_key": key, "space": space, "vector": vector.tobytes()}
        for key, vector in zip(face_keys, vectors, strict=True)
    ]
    connection.execute(_INSERT_EMBEDDINGS, rows)
