"""Recent request ids, which make enrollment idempotent.

A record holds a digest of the body and the range of face keys it enrolled. Faces of one
transaction have consecutive keys and keys are never reused, so the range identifies them, and no
personal data remains here after a deletion.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Delete, delete, insert, select

from recognizer_service.gallery.limits import MAX_ID_CHARACTERS, check_text, checked_id, shown
from recognizer_service.gallery.storage.schema import requests
from recognizer_service.gallery.types import Enrolment, NewFace
from shared.errors import AlreadyExists

KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that may be repeated.

    Attributes:
        caller: the caller; request ids are separate for each caller.
        request_id: chosen by the caller, 1 to 128 printable characters.
        digest: digest of the body, see `digest_of`.
    """

    caller: str
    request_id: str
    digest: bytes

    def __post_init__(self) -> None:
        """Check the ids."""
        checked_id(self.request_id, "request_id")
        check_text(self.caller, "caller", least=0, most=2 * MAX_ID_CHARACTERS)


def digest_of(collection_id: str, enrolment: Enrolment, *, refuse_duplicates: bool) -> bytes:
    """Return the SHA-256 of the request body.

    Embeddings are excluded: they follow from the maps, and their last bits may depend on the other
    faces in the batch.
    """
    body: list[Any] = [
        collection_id,
        enrolment.subject_id,
        enrolment.display_name,
        enrolment.create_only,
        refuse_duplicates,
        # Once named, a stranger has no sightings left from which a repetition could get its faces.
        ["stranger", enrolment.stranger]
        if enrolment.stranger
        else [_face_body(face) for face in enrolment.faces],
    ]
    if enrolment.metadata or enrolment.labels or enrolment.expires_at:
        body += [  # appended only if set, so that older digests stay valid
            sorted(enrolment.metadata.items()),
            sorted(set(enrolment.labels)),
            _moment(enrolment.expires_at),
        ]
    return hashlib.sha256(json.dumps(body).encode()).digest()


def _face_body(face: NewFace) -> list[Any]:
    return [face.codec_id, face.png.hex(), face.quality, _moment(face.captured_at)]


def _moment(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat()


def recall(connection: Connection, request: Request, now: datetime) -> range | None:
    """Return the keys of the faces that the same request enrolled before; None if it is new.

    Raises:
        AlreadyExists: the id was used with another body (REQUEST_ID_REUSED).
    """
    row = connection.execute(
        select(requests.c.digest, requests.c.first_face_key, requests.c.last_face_key)
        .where(requests.c.caller == request.caller)
        .where(requests.c.request_id == request.request_id)
        .where(requests.c.created_at > now - KEPT)
    ).one_or_none()
    if row is None:
        return None
    if row.digest != request.digest:
        raise AlreadyExists(
            "REQUEST_ID_REUSED",
            f"request id {shown(request.request_id)} was used with another body",
            field="request_id",
        )
    return range(row.first_face_key, row.last_face_key + 1)


def remember(
    connection: Connection, request: Request, face_keys: Sequence[int], now: datetime
) -> None:
    """Record the faces that a request enrolled, in the same transaction."""
    connection.execute(  # the id may exist, but expired
        delete(requests)
        .where(requests.c.caller == request.caller)
        .where(requests.c.request_id == request.request_id)
    )
    connection.execute(
        insert(requests).values(
            caller=request.caller,
            request_id=request.request_id,
            digest=request.digest,
            first_face_key=face_keys[0],
            last_face_key=face_keys[-1],
            created_at=now,
        )
    )


def expired(now: datetime) -> Delete:
    """Build the statement that deletes expired requests."""
    return delete(requests).where(requests.c.created_at <= now - KEPT)
