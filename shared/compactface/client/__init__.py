"""Clients of the compactface services.

::

    from pathlib import Path

    from compactface.client import EncoderClient, InvalidArgument, RecognizerClient

    with EncoderClient("camera:50051") as encoder, RecognizerClient("server:50052") as recognizer:
        faces = encoder.encode(Path("portrait.jpg").read_bytes(), max_faces=1).faces
        recognizer.subjects.enroll([face.map for face in faces], subject_id="ada")
        for face in encoder.encode(Path("door.jpg").read_bytes()).faces:
            try:
                answer = recognizer.identify(face.map, max_fpir=0.001)
            except InvalidArgument as refused:
                print(refused.field, refused.reason, refused.message)
            else:
                print(answer.decision, [found.subject_id for found in answer.candidates])

Methods answer with the messages of `compactface.v1` and raise `RequestFailed`, of which
`InvalidArgument`, `NotFound` and so on are subclasses. The gallery's are in groups:
`recognizer.subjects`, `.faces`, `.collections`, `.erasures` and `.audit_events`. A call ends after
`timeout_s`: 10 seconds, or as in `recognizer.with_timeout(0.5).identify(...)`. Reads are repeated
when the connection breaks, and so are enrollments, whose request ids make that safe; nothing else.

With TLS: `EncoderClient(target, tls=Tls(ca=Path("ca.pem")))`. With asyncio:
`compactface.client.aio`.
"""

from compactface.client.channel import Options, Tls
from compactface.client.clients import EncoderClient, RecognizerClient
from compactface.client.encoder import Frame
from compactface.client.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    Peer,
    PermissionDenied,
    RequestFailed,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from compactface.client.request_ids import request_id
from compactface.client.subjects import enrollment

__all__ = [
    "AlreadyExists",
    "DeadlineExceeded",
    "EncoderClient",
    "FailedPrecondition",
    "FieldViolation",
    "Frame",
    "InvalidArgument",
    "NotFound",
    "Options",
    "Peer",
    "PermissionDenied",
    "RecognizerClient",
    "RequestFailed",
    "ResourceExhausted",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "enrollment",
    "request_id",
]
