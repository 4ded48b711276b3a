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

Methods return messages of `compactface.v1` and raise `RequestFailed` or a subclass, such as
`InvalidArgument` or `NotFound`. Gallery methods are grouped: `recognizer.subjects`, `.faces`,
`.collections`, `.erasures` and `.audit_events`. The default timeout of a call is 10 seconds;
`recognizer.with_timeout(0.5).identify(...)` changes it. If the connection breaks, reads are
retried, and so are enrollments, whose request ids make that safe; other calls are not.

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
