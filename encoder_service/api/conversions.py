"""Conversion between domain objects and protobuf messages, with validation of requests."""

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from compactface.v1 import compact_map_pb2, encoder_pb2, recognizer_pb2
from encoder_service.core.encoder import EncodedFace, EncodeTimings, PictureKind
from encoder_service.uplink.uplink import Fate
from shared.camera_name import check_camera
from shared.errors import InvalidInput
from shared.faces.detect import Box, Landmarks, Point
from shared.faces.display import encode_png
from shared.faces.pose import yaw_degrees
from shared.serving.timestamps import moment, timestamp

_MAX_FRAME_ID_CHARACTERS = 128
_OUTCOMES = {
    Fate.SPOOLED: encoder_pb2.FORWARD_OUTCOME_SPOOLED,
    Fate.DISCARDED: encoder_pb2.FORWARD_OUTCOME_DISCARDED,
}


def picture_kind(kind: "encoder_pb2.PictureKind") -> PictureKind:
    """Convert the enum; unknown values of newer protocols become PHOTO."""
    if kind == encoder_pb2.PICTURE_KIND_CROP:
        return PictureKind.CROP
    return PictureKind.PHOTO


def capture_time(request: encoder_pb2.EncodeRequest, *, field: str) -> datetime:
    """The request's capture time, or the current time if absent.

    Raises:
        InvalidInput: INVALID_TIME, in `field`.
    """
    if request.HasField("capture_time"):
        return moment(request.capture_time, field=field)
    return datetime.now(UTC)


def camera(request: encoder_pb2.EncodeRequest, *, field: str) -> str:
    """The request's camera.

    Raises:
        InvalidInput: INVALID_CAMERA, in `field`.
    """
    check_camera(request.camera, field=field)
    return request.camera


def check_frame_id(frame_id: str) -> None:
    """Check the length of a frame id.

    Raises:
        InvalidInput: INVALID_LENGTH.
    """
    if len(frame_id) > _MAX_FRAME_ID_CHARACTERS:
        raise InvalidInput(
            "INVALID_LENGTH",
            f"frame_id has {len(frame_id)} characters; "
            f"at most {_MAX_FRAME_ID_CHARACTERS} are accepted",
            field="frame_id",
        )


def cut_frame_id(frame_id: str) -> str:
    """Truncate an id for a response, whose size must not depend on the request."""
    return frame_id[:_MAX_FRAME_ID_CHARACTERS]


def face_message(
    face: EncodedFace, *, codec_id: str, taken: datetime, with_crop: bool
) -> encoder_pb2.Face:
    """Convert one face to its response message."""
    return encoder_pb2.Face(
        map=compact_map_pb2.CompactMap(
            codec_id=codec_id, png=face.png, capture_time=timestamp(taken), quality=face.quality
        ),
        box=_box(face.box) if face.box else None,
        landmarks=_landmarks(face.landmarks) if face.landmarks else None,
        detection_score=face.score,
        quality=face.quality,
        size_bytes=len(face.png),
        crop_png=encode_png(face.crop) if with_crop else b"",
        flaws=_flaws(face.flaws),
        yaw_degrees=_yaw(face.landmarks) if face.landmarks else None,
        eye_distance=_eye_distance(face.landmarks) if face.landmarks else None,
    )


def _flaws(found: Mapping[str, float]) -> compact_map_pb2.Flaws | None:
    """Convert flaws; names unknown to this protocol are omitted."""
    known = compact_map_pb2.Flaws.DESCRIPTOR.fields_by_name
    return (
        compact_map_pb2.Flaws(**{n: v for n, v in found.items() if n in known}) if found else None
    )


def _yaw(landmarks: Landmarks) -> float:
    return float(yaw_degrees(landmarks.as_array()[np.newaxis])[0])


def _eye_distance(landmarks: Landmarks) -> float:
    left, right = landmarks.as_array()[:2]
    return float(np.linalg.norm(right - left))


def uplink_message(
    face: encoder_pb2.Face, *, camera: str, request_id: str
) -> recognizer_pb2.StreamedMap:
    """Convert one face for streaming; `request_id` is that of the original call."""
    return recognizer_pb2.StreamedMap(
        sighting_id=face.sighting_id, map=face.map, request_id=request_id, camera=camera
    )


def forward_outcome(fate: Fate) -> "encoder_pb2.ForwardOutcome":
    """Convert the outcome of forwarding a map."""
    return _OUTCOMES[fate]


def timings_message(timings: EncodeTimings) -> encoder_pb2.EncodeTimings:
    """Convert the milliseconds per stage."""
    return encoder_pb2.EncodeTimings(
        decode_ms=timings.decode_ms,
        detect_ms=timings.detect_ms,
        align_ms=timings.align_ms,
        compnet_ms=timings.compnet_ms,
        pack_ms=timings.pack_ms,
    )


def _box(box: Box) -> compact_map_pb2.Box:
    return compact_map_pb2.Box(x=box.x, y=box.y, width=box.width, height=box.height)


def _landmarks(landmarks: Landmarks) -> compact_map_pb2.Landmarks:
    return compact_map_pb2.Landmarks(
        left_eye=_point(landmarks.left_eye),
        right_eye=_point(landmarks.right_eye),
        nose=_point(landmarks.nose),
        mouth_left=_point(landmarks.mouth_left),
        mouth_right=_point(landmarks.mouth_right),
    )


def _point(point: Point) -> compact_map_pb2.Point:
    x, y = point
    return compact_map_pb2.Point(x=x, y=y)
