"""Between the encoder's domain and its protobuf messages."""

from compactface.v1 import compact_map_pb2, encoder_pb2, recognizer_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from encoder_service.encoder import EncodedFace, EncodeTimings, PictureKind
from shared.face.detect import Box, Landmarks
from shared.face.display import encode_png

_KINDS = {
    encoder_pb2.PICTURE_KIND_UNSPECIFIED: PictureKind.PHOTO,
    encoder_pb2.PICTURE_KIND_PHOTO: PictureKind.PHOTO,
    encoder_pb2.PICTURE_KIND_CROP: PictureKind.CROP,
}


def picture_kind(kind: "encoder_pb2.PictureKind") -> PictureKind:
    """The domain's word; values of a newer protocol count as photos."""
    return _KINDS.get(kind, PictureKind.PHOTO)


def capture_time(request: encoder_pb2.EncodeRequest) -> Timestamp:
    """When the picture was taken, or else now."""
    if request.HasField("capture_time"):
        return request.capture_time
    now = Timestamp()
    now.GetCurrentTime()
    return now


def face_message(
    face: EncodedFace, *, codec_id: str, taken: Timestamp, forwarded: bool, with_crop: bool
) -> encoder_pb2.Face:
    """One face as it is answered."""
    return encoder_pb2.Face(
        map=compact_map_pb2.CompactMap(
            codec_id=codec_id, png=face.png, capture_time=taken, quality=face.quality
        ),
        box=_box(face.box),
        landmarks=_landmarks(face.landmarks),
        detection_score=face.score,
        quality=face.quality,
        size_bytes=len(face.png),
        sighting_id=face.sighting_id if forwarded else "",
        crop_png=encode_png(face.crop) if with_crop else b"",
    )


def uplink_message(face: encoder_pb2.Face) -> recognizer_pb2.StreamMapsRequest:
    """One face as it is streamed."""
    return recognizer_pb2.StreamMapsRequest(sighting_id=face.sighting_id, map=face.map)


def timings_message(timings: EncodeTimings) -> encoder_pb2.EncodeTimings:
    """Milliseconds per stage."""
    return encoder_pb2.EncodeTimings(
        decode_ms=timings.decode_ms,
        detect_ms=timings.detect_ms,
        align_ms=timings.align_ms,
        compnet_ms=timings.compnet_ms,
        pack_ms=timings.pack_ms,
    )


def _box(box: Box | None) -> compact_map_pb2.Box | None:
    if box is None:
        return None
    return compact_map_pb2.Box(x=box.x, y=box.y, width=box.width, height=box.height)


def _landmarks(landmarks: Landmarks | None) -> compact_map_pb2.Landmarks | None:
    if landmarks is None:
        return None
    points = (
        landmarks.left_eye,
        landmarks.right_eye,
        landmarks.nose,
        landmarks.mouth_left,
        landmarks.mouth_right,
    )
    left_eye, right_eye, nose, mouth_left, mouth_right = (
        compact_map_pb2.Point(x=x, y=y) for x, y in points
    )
    return compact_map_pb2.Landmarks(
        left_eye=left_eye,
        right_eye=right_eye,
        nose=nose,
        mouth_left=mouth_left,
        mouth_right=mouth_right,
    )
