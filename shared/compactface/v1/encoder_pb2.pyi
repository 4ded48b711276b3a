import datetime

from compactface.v1 import authorization_pb2 as _authorization_pb2
from compactface.v1 import compact_map_pb2 as _compact_map_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PictureKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PICTURE_KIND_UNSPECIFIED: _ClassVar[PictureKind]
    PICTURE_KIND_PHOTO: _ClassVar[PictureKind]
    PICTURE_KIND_CROP: _ClassVar[PictureKind]

class ForwardOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FORWARD_OUTCOME_UNSPECIFIED: _ClassVar[ForwardOutcome]
    FORWARD_OUTCOME_SPOOLED: _ClassVar[ForwardOutcome]
    FORWARD_OUTCOME_DISCARDED: _ClassVar[ForwardOutcome]
PICTURE_KIND_UNSPECIFIED: PictureKind
PICTURE_KIND_PHOTO: PictureKind
PICTURE_KIND_CROP: PictureKind
FORWARD_OUTCOME_UNSPECIFIED: ForwardOutcome
FORWARD_OUTCOME_SPOOLED: ForwardOutcome
FORWARD_OUTCOME_DISCARDED: ForwardOutcome

class EncodeRequest(_message.Message):
    __slots__ = ("image", "kind", "capture_time", "forward", "max_faces", "include_crops", "camera")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    MAX_FACES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_CROPS_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    kind: PictureKind
    capture_time: _timestamp_pb2.Timestamp
    forward: bool
    max_faces: int
    include_crops: bool
    camera: str
    def __init__(self, image: _Optional[bytes] = ..., kind: _Optional[_Union[PictureKind, str]] = ..., capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., forward: _Optional[bool] = ..., max_faces: _Optional[int] = ..., include_crops: _Optional[bool] = ..., camera: _Optional[str] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("faces", "timings", "faces_found")
    FACES_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    FACES_FOUND_FIELD_NUMBER: _ClassVar[int]
    faces: _containers.RepeatedCompositeFieldContainer[Face]
    timings: EncodeTimings
    faces_found: int
    def __init__(self, faces: _Optional[_Iterable[_Union[Face, _Mapping]]] = ..., timings: _Optional[_Union[EncodeTimings, _Mapping]] = ..., faces_found: _Optional[int] = ...) -> None: ...

class Face(_message.Message):
    __slots__ = ("map", "box", "landmarks", "detection_score", "quality", "size_bytes", "sighting_id", "crop_png", "flaws", "yaw_degrees", "eye_distance", "forward_outcome")
    MAP_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    LANDMARKS_FIELD_NUMBER: _ClassVar[int]
    DETECTION_SCORE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SIGHTING_ID_FIELD_NUMBER: _ClassVar[int]
    CROP_PNG_FIELD_NUMBER: _ClassVar[int]
    FLAWS_FIELD_NUMBER: _ClassVar[int]
    YAW_DEGREES_FIELD_NUMBER: _ClassVar[int]
    EYE_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    FORWARD_OUTCOME_FIELD_NUMBER: _ClassVar[int]
    map: _compact_map_pb2.CompactMap
    box: _compact_map_pb2.Box
    landmarks: _compact_map_pb2.Landmarks
    detection_score: float
    quality: float
    size_bytes: int
    sighting_id: str
    crop_png: bytes
    flaws: _compact_map_pb2.Flaws
    yaw_degrees: float
    eye_distance: float
    forward_outcome: ForwardOutcome
    def __init__(self, map: _Optional[_Union[_compact_map_pb2.CompactMap, _Mapping]] = ..., box: _Optional[_Union[_compact_map_pb2.Box, _Mapping]] = ..., landmarks: _Optional[_Union[_compact_map_pb2.Landmarks, _Mapping]] = ..., detection_score: _Optional[float] = ..., quality: _Optional[float] = ..., size_bytes: _Optional[int] = ..., sighting_id: _Optional[str] = ..., crop_png: _Optional[bytes] = ..., flaws: _Optional[_Union[_compact_map_pb2.Flaws, _Mapping]] = ..., yaw_degrees: _Optional[float] = ..., eye_distance: _Optional[float] = ..., forward_outcome: _Optional[_Union[ForwardOutcome, str]] = ...) -> None: ...

class EncodeTimings(_message.Message):
    __slots__ = ("decode_ms", "detect_ms", "align_ms", "compnet_ms", "pack_ms")
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    DETECT_MS_FIELD_NUMBER: _ClassVar[int]
    ALIGN_MS_FIELD_NUMBER: _ClassVar[int]
    COMPNET_MS_FIELD_NUMBER: _ClassVar[int]
    PACK_MS_FIELD_NUMBER: _ClassVar[int]
    decode_ms: float
    detect_ms: float
    align_ms: float
    compnet_ms: float
    pack_ms: float
    def __init__(self, decode_ms: _Optional[float] = ..., detect_ms: _Optional[float] = ..., align_ms: _Optional[float] = ..., compnet_ms: _Optional[float] = ..., pack_ms: _Optional[float] = ...) -> None: ...

class EncodeStreamRequest(_message.Message):
    __slots__ = ("request", "frame_id")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    request: EncodeRequest
    frame_id: str
    def __init__(self, request: _Optional[_Union[EncodeRequest, _Mapping]] = ..., frame_id: _Optional[str] = ...) -> None: ...

class EncodeStreamResponse(_message.Message):
    __slots__ = ("frame_id", "response", "error")
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    frame_id: str
    response: EncodeResponse
    error: _status_pb2.Status
    def __init__(self, frame_id: _Optional[str] = ..., response: _Optional[_Union[EncodeResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class GetEncoderInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetEncoderInfoResponse(_message.Message):
    __slots__ = ("version", "model_family", "model_version", "operating_point", "codec_id", "max_image_bytes", "max_image_pixels", "max_faces", "max_stream_in_flight", "uplink_enabled", "uplink_depth", "crop_height", "crop_width", "max_message_bytes", "uplink_aside", "max_decode_bytes", "uplink_oldest_age", "uplink_dropped", "uplink_discards")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FAMILY_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    OPERATING_POINT_FIELD_NUMBER: _ClassVar[int]
    CODEC_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGE_PIXELS_FIELD_NUMBER: _ClassVar[int]
    MAX_FACES_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAM_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    UPLINK_ENABLED_FIELD_NUMBER: _ClassVar[int]
    UPLINK_DEPTH_FIELD_NUMBER: _ClassVar[int]
    CROP_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CROP_WIDTH_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    UPLINK_ASIDE_FIELD_NUMBER: _ClassVar[int]
    MAX_DECODE_BYTES_FIELD_NUMBER: _ClassVar[int]
    UPLINK_OLDEST_AGE_FIELD_NUMBER: _ClassVar[int]
    UPLINK_DROPPED_FIELD_NUMBER: _ClassVar[int]
    UPLINK_DISCARDS_FIELD_NUMBER: _ClassVar[int]
    version: str
    model_family: str
    model_version: str
    operating_point: str
    codec_id: str
    max_image_bytes: int
    max_image_pixels: int
    max_faces: int
    max_stream_in_flight: int
    uplink_enabled: bool
    uplink_depth: int
    crop_height: int
    crop_width: int
    max_message_bytes: int
    uplink_aside: int
    max_decode_bytes: int
    uplink_oldest_age: _duration_pb2.Duration
    uplink_dropped: int
    uplink_discards: bool
    def __init__(self, version: _Optional[str] = ..., model_family: _Optional[str] = ..., model_version: _Optional[str] = ..., operating_point: _Optional[str] = ..., codec_id: _Optional[str] = ..., max_image_bytes: _Optional[int] = ..., max_image_pixels: _Optional[int] = ..., max_faces: _Optional[int] = ..., max_stream_in_flight: _Optional[int] = ..., uplink_enabled: _Optional[bool] = ..., uplink_depth: _Optional[int] = ..., crop_height: _Optional[int] = ..., crop_width: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., uplink_aside: _Optional[int] = ..., max_decode_bytes: _Optional[int] = ..., uplink_oldest_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., uplink_dropped: _Optional[int] = ..., uplink_discards: _Optional[bool] = ...) -> None: ...
