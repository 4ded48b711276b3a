import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CompactMap(_message.Message):
    __slots__ = ("codec_id", "png", "capture_time", "quality", "liveness")
    CODEC_ID_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    LIVENESS_FIELD_NUMBER: _ClassVar[int]
    codec_id: str
    png: bytes
    capture_time: _timestamp_pb2.Timestamp
    quality: float
    liveness: float
    def __init__(self, codec_id: _Optional[str] = ..., png: _Optional[bytes] = ..., capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., quality: _Optional[float] = ..., liveness: _Optional[float] = ...) -> None: ...

class Flaws(_message.Message):
    __slots__ = ("blur", "noise", "dark", "uneven_light", "eyes_covered", "mouth_covered", "outside", "rolled", "odd_colours", "not_a_face")
    BLUR_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    DARK_FIELD_NUMBER: _ClassVar[int]
    UNEVEN_LIGHT_FIELD_NUMBER: _ClassVar[int]
    EYES_COVERED_FIELD_NUMBER: _ClassVar[int]
    MOUTH_COVERED_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    ROLLED_FIELD_NUMBER: _ClassVar[int]
    ODD_COLOURS_FIELD_NUMBER: _ClassVar[int]
    NOT_A_FACE_FIELD_NUMBER: _ClassVar[int]
    blur: float
    noise: float
    dark: float
    uneven_light: float
    eyes_covered: float
    mouth_covered: float
    outside: float
    rolled: float
    odd_colours: float
    not_a_face: float
    def __init__(self, blur: _Optional[float] = ..., noise: _Optional[float] = ..., dark: _Optional[float] = ..., uneven_light: _Optional[float] = ..., eyes_covered: _Optional[float] = ..., mouth_covered: _Optional[float] = ..., outside: _Optional[float] = ..., rolled: _Optional[float] = ..., odd_colours: _Optional[float] = ..., not_a_face: _Optional[float] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("x", "y", "width", "height")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    width: float
    height: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ..., width: _Optional[float] = ..., height: _Optional[float] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ...) -> None: ...

class Landmarks(_message.Message):
    __slots__ = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    LEFT_EYE_FIELD_NUMBER: _ClassVar[int]
    RIGHT_EYE_FIELD_NUMBER: _ClassVar[int]
    NOSE_FIELD_NUMBER: _ClassVar[int]
    MOUTH_LEFT_FIELD_NUMBER: _ClassVar[int]
    MOUTH_RIGHT_FIELD_NUMBER: _ClassVar[int]
    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point
    def __init__(self, left_eye: _Optional[_Union[Point, _Mapping]] = ..., right_eye: _Optional[_Union[Point, _Mapping]] = ..., nose: _Optional[_Union[Point, _Mapping]] = ..., mouth_left: _Optional[_Union[Point, _Mapping]] = ..., mouth_right: _Optional[_Union[Point, _Mapping]] = ...) -> None: ...
