"""Clients of the compactface services.

::

    from pathlib import Path

    from compactface.client import EncoderClient, RecognizerClient, RequestFailed

    with EncoderClient("camera:50051") as encoder, RecognizerClient("server:50052") as recognizer:
        faces = encoder.encode(Path("portrait.jpg").read_bytes(), max_faces=1).faces
        recognizer.enroll([face.map for face in faces], subject_id="ada", display_name="Ada")
        for face in encoder.encode(Path("door.jpg").read_bytes()).faces:
            try:
                answer = recognizer.identify(face.map, max_fpir=0.001)
            except RequestFailed as failure:
                print(failure.reason, failure.message)
            else:
                print(answer.decision, [found.subject_id for found in answer.candidates])

Clients block, may be shared by threads, and answer with the messages of `compactface.v1`.
With TLS: `EncoderClient(target, tls=Tls(ca=Path("ca.pem")))`.
"""

from compactface.client.channel import Tls
from compactface.client.encoder import EncoderClient, Frame
from compactface.client.errors import FieldViolation, Peer, RequestFailed
from compactface.client.gallery import enrollment
from compactface.client.recognizer import RecognizerClient
from compactface.client.request_ids import request_id

__all__ = [
    "EncoderClient",
    "FieldViolation",
    "Frame",
    "Peer",
    "RecognizerClient",
    "RequestFailed",
    "Tls",
    "enrollment",
    "request_id",
]
