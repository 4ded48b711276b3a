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

class IdentifyDecision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IDENTIFY_DECISION_UNSPECIFIED: _ClassVar[IdentifyDecision]
    IDENTIFY_DECISION_MATCH: _ClassVar[IdentifyDecision]
    IDENTIFY_DECISION_NO_MATCH: _ClassVar[IdentifyDecision]
    IDENTIFY_DECISION_LOW_QUALITY: _ClassVar[IdentifyDecision]
    IDENTIFY_DECISION_EMPTY_GALLERY: _ClassVar[IdentifyDecision]

class VerifyDecision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERIFY_DECISION_UNSPECIFIED: _ClassVar[VerifyDecision]
    VERIFY_DECISION_MATCH: _ClassVar[VerifyDecision]
    VERIFY_DECISION_NO_MATCH: _ClassVar[VerifyDecision]
    VERIFY_DECISION_LOW_QUALITY: _ClassVar[VerifyDecision]
IDENTIFY_DECISION_UNSPECIFIED: IdentifyDecision
IDENTIFY_DECISION_MATCH: IdentifyDecision
IDENTIFY_DECISION_NO_MATCH: IdentifyDecision
IDENTIFY_DECISION_LOW_QUALITY: IdentifyDecision
IDENTIFY_DECISION_EMPTY_GALLERY: IdentifyDecision
VERIFY_DECISION_UNSPECIFIED: VerifyDecision
VERIFY_DECISION_MATCH: VerifyDecision
VERIFY_DECISION_NO_MATCH: VerifyDecision
VERIFY_DECISION_LOW_QUALITY: VerifyDecision

class Probe(_message.Message):
    __slots__ = ("map", "sighting_id")
    MAP_FIELD_NUMBER: _ClassVar[int]
    SIGHTING_ID_FIELD_NUMBER: _ClassVar[int]
    map: _compact_map_pb2.CompactMap
    sighting_id: str
    def __init__(self, map: _Optional[_Union[_compact_map_pb2.CompactMap, _Mapping]] = ..., sighting_id: _Optional[str] = ...) -> None: ...

class IdentifyThreshold(_message.Message):
    __slots__ = ("max_fpir", "min_similarity")
    MAX_FPIR_FIELD_NUMBER: _ClassVar[int]
    MIN_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    max_fpir: float
    min_similarity: float
    def __init__(self, max_fpir: _Optional[float] = ..., min_similarity: _Optional[float] = ...) -> None: ...

class VerifyThreshold(_message.Message):
    __slots__ = ("max_fmr", "min_similarity")
    MAX_FMR_FIELD_NUMBER: _ClassVar[int]
    MIN_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    max_fmr: float
    min_similarity: float
    def __init__(self, max_fmr: _Optional[float] = ..., min_similarity: _Optional[float] = ...) -> None: ...

class AppliedThreshold(_message.Message):
    __slots__ = ("similarity", "fmr", "faces", "method", "extrapolated", "allowance", "alike")
    class Method(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        METHOD_UNSPECIFIED: _ClassVar[AppliedThreshold.Method]
        METHOD_SIMILARITY: _ClassVar[AppliedThreshold.Method]
        METHOD_CALIBRATION: _ClassVar[AppliedThreshold.Method]
    METHOD_UNSPECIFIED: AppliedThreshold.Method
    METHOD_SIMILARITY: AppliedThreshold.Method
    METHOD_CALIBRATION: AppliedThreshold.Method
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    FMR_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    EXTRAPOLATED_FIELD_NUMBER: _ClassVar[int]
    ALLOWANCE_FIELD_NUMBER: _ClassVar[int]
    ALIKE_FIELD_NUMBER: _ClassVar[int]
    similarity: float
    fmr: float
    faces: int
    method: AppliedThreshold.Method
    extrapolated: bool
    allowance: float
    alike: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, similarity: _Optional[float] = ..., fmr: _Optional[float] = ..., faces: _Optional[int] = ..., method: _Optional[_Union[AppliedThreshold.Method, str]] = ..., extrapolated: _Optional[bool] = ..., allowance: _Optional[float] = ..., alike: _Optional[_Iterable[str]] = ...) -> None: ...

class IdentifyRequest(_message.Message):
    __slots__ = ("collection", "probe", "threshold", "max_subjects", "picture")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MAX_SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    probe: Probe
    threshold: IdentifyThreshold
    max_subjects: int
    picture: str
    def __init__(self, collection: _Optional[str] = ..., probe: _Optional[_Union[Probe, _Mapping]] = ..., threshold: _Optional[_Union[IdentifyThreshold, _Mapping]] = ..., max_subjects: _Optional[int] = ..., picture: _Optional[str] = ...) -> None: ...

class IdentifyResponse(_message.Message):
    __slots__ = ("decision", "candidates", "threshold", "quality_checked", "timings", "probe_quality", "probe_flaws", "similarities_withheld")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    QUALITY_CHECKED_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    PROBE_QUALITY_FIELD_NUMBER: _ClassVar[int]
    PROBE_FLAWS_FIELD_NUMBER: _ClassVar[int]
    SIMILARITIES_WITHHELD_FIELD_NUMBER: _ClassVar[int]
    decision: IdentifyDecision
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    threshold: AppliedThreshold
    quality_checked: bool
    timings: RecognizeTimings
    probe_quality: float
    probe_flaws: _compact_map_pb2.Flaws
    similarities_withheld: bool
    def __init__(self, decision: _Optional[_Union[IdentifyDecision, str]] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., threshold: _Optional[_Union[AppliedThreshold, _Mapping]] = ..., quality_checked: _Optional[bool] = ..., timings: _Optional[_Union[RecognizeTimings, _Mapping]] = ..., probe_quality: _Optional[float] = ..., probe_flaws: _Optional[_Union[_compact_map_pb2.Flaws, _Mapping]] = ..., similarities_withheld: _Optional[bool] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("subject_id", "display_name", "face_id", "similarity", "matched", "threshold", "taken")
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    FACE_ID_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    subject_id: str
    display_name: str
    face_id: str
    similarity: float
    matched: bool
    threshold: float
    taken: bool
    def __init__(self, subject_id: _Optional[str] = ..., display_name: _Optional[str] = ..., face_id: _Optional[str] = ..., similarity: _Optional[float] = ..., matched: _Optional[bool] = ..., threshold: _Optional[float] = ..., taken: _Optional[bool] = ...) -> None: ...

class RecognizeTimings(_message.Message):
    __slots__ = ("unpack_ms", "embed_ms", "match_ms")
    UNPACK_MS_FIELD_NUMBER: _ClassVar[int]
    EMBED_MS_FIELD_NUMBER: _ClassVar[int]
    MATCH_MS_FIELD_NUMBER: _ClassVar[int]
    unpack_ms: float
    embed_ms: float
    match_ms: float
    def __init__(self, unpack_ms: _Optional[float] = ..., embed_ms: _Optional[float] = ..., match_ms: _Optional[float] = ...) -> None: ...

class BatchIdentifyRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[IdentifyRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[IdentifyRequest, _Mapping]]] = ...) -> None: ...

class BatchIdentifyResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchIdentifyResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchIdentifyResult, _Mapping]]] = ...) -> None: ...

class BatchIdentifyResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: IdentifyResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[IdentifyResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ("collection", "probe", "map", "subject_id", "threshold")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    collection: str
    probe: Probe
    map: _compact_map_pb2.CompactMap
    subject_id: str
    threshold: VerifyThreshold
    def __init__(self, collection: _Optional[str] = ..., probe: _Optional[_Union[Probe, _Mapping]] = ..., map: _Optional[_Union[_compact_map_pb2.CompactMap, _Mapping]] = ..., subject_id: _Optional[str] = ..., threshold: _Optional[_Union[VerifyThreshold, _Mapping]] = ...) -> None: ...

class VerifyResponse(_message.Message):
    __slots__ = ("decision", "similarity", "estimated_fmr", "estimate_extrapolated", "threshold", "face_id", "quality_checked", "timings", "lowest_quality", "probe_flaws", "similarities_withheld")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FMR_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_EXTRAPOLATED_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FACE_ID_FIELD_NUMBER: _ClassVar[int]
    QUALITY_CHECKED_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    LOWEST_QUALITY_FIELD_NUMBER: _ClassVar[int]
    PROBE_FLAWS_FIELD_NUMBER: _ClassVar[int]
    SIMILARITIES_WITHHELD_FIELD_NUMBER: _ClassVar[int]
    decision: VerifyDecision
    similarity: float
    estimated_fmr: float
    estimate_extrapolated: bool
    threshold: AppliedThreshold
    face_id: str
    quality_checked: bool
    timings: RecognizeTimings
    lowest_quality: float
    probe_flaws: _compact_map_pb2.Flaws
    similarities_withheld: bool
    def __init__(self, decision: _Optional[_Union[VerifyDecision, str]] = ..., similarity: _Optional[float] = ..., estimated_fmr: _Optional[float] = ..., estimate_extrapolated: _Optional[bool] = ..., threshold: _Optional[_Union[AppliedThreshold, _Mapping]] = ..., face_id: _Optional[str] = ..., quality_checked: _Optional[bool] = ..., timings: _Optional[_Union[RecognizeTimings, _Mapping]] = ..., lowest_quality: _Optional[float] = ..., probe_flaws: _Optional[_Union[_compact_map_pb2.Flaws, _Mapping]] = ..., similarities_withheld: _Optional[bool] = ...) -> None: ...

class StreamMapsRequest(_message.Message):
    __slots__ = ("sighting_id", "map", "request_id", "maps", "camera", "answer_together")
    SIGHTING_ID_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MAPS_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    ANSWER_TOGETHER_FIELD_NUMBER: _ClassVar[int]
    sighting_id: str
    map: _compact_map_pb2.CompactMap
    request_id: str
    maps: _containers.RepeatedCompositeFieldContainer[StreamedMap]
    camera: str
    answer_together: bool
    def __init__(self, sighting_id: _Optional[str] = ..., map: _Optional[_Union[_compact_map_pb2.CompactMap, _Mapping]] = ..., request_id: _Optional[str] = ..., maps: _Optional[_Iterable[_Union[StreamedMap, _Mapping]]] = ..., camera: _Optional[str] = ..., answer_together: _Optional[bool] = ...) -> None: ...

class StreamedMap(_message.Message):
    __slots__ = ("sighting_id", "map", "request_id", "camera")
    SIGHTING_ID_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    sighting_id: str
    map: _compact_map_pb2.CompactMap
    request_id: str
    camera: str
    def __init__(self, sighting_id: _Optional[str] = ..., map: _Optional[_Union[_compact_map_pb2.CompactMap, _Mapping]] = ..., request_id: _Optional[str] = ..., camera: _Optional[str] = ...) -> None: ...

class StreamMapsResponse(_message.Message):
    __slots__ = ("sighting_id", "outcome", "error", "answers")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[StreamMapsResponse.Outcome]
        OUTCOME_STORED: _ClassVar[StreamMapsResponse.Outcome]
        OUTCOME_DUPLICATE: _ClassVar[StreamMapsResponse.Outcome]
        OUTCOME_DISCARDED: _ClassVar[StreamMapsResponse.Outcome]
    OUTCOME_UNSPECIFIED: StreamMapsResponse.Outcome
    OUTCOME_STORED: StreamMapsResponse.Outcome
    OUTCOME_DUPLICATE: StreamMapsResponse.Outcome
    OUTCOME_DISCARDED: StreamMapsResponse.Outcome
    SIGHTING_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    sighting_id: str
    outcome: StreamMapsResponse.Outcome
    error: _status_pb2.Status
    answers: _containers.RepeatedCompositeFieldContainer[StreamMapsResponse]
    def __init__(self, sighting_id: _Optional[str] = ..., outcome: _Optional[_Union[StreamMapsResponse.Outcome, str]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., answers: _Optional[_Iterable[_Union[StreamMapsResponse, _Mapping]]] = ...) -> None: ...

class Sighting(_message.Message):
    __slots__ = ("sighting_id", "camera_id", "capture_time", "receive_time", "quality", "codec_id", "size_bytes", "identification", "failure_reason", "stranger_number")
    SIGHTING_ID_FIELD_NUMBER: _ClassVar[int]
    CAMERA_ID_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    CODEC_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    IDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_REASON_FIELD_NUMBER: _ClassVar[int]
    STRANGER_NUMBER_FIELD_NUMBER: _ClassVar[int]
    sighting_id: str
    camera_id: str
    capture_time: _timestamp_pb2.Timestamp
    receive_time: _timestamp_pb2.Timestamp
    quality: float
    codec_id: str
    size_bytes: int
    identification: IdentifyResponse
    failure_reason: str
    stranger_number: int
    def __init__(self, sighting_id: _Optional[str] = ..., camera_id: _Optional[str] = ..., capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., quality: _Optional[float] = ..., codec_id: _Optional[str] = ..., size_bytes: _Optional[int] = ..., identification: _Optional[_Union[IdentifyResponse, _Mapping]] = ..., failure_reason: _Optional[str] = ..., stranger_number: _Optional[int] = ...) -> None: ...

class SightingFilter(_message.Message):
    __slots__ = ("start_time", "end_time", "camera_id", "subject_id", "decisions", "stranger_number")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    CAMERA_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    STRANGER_NUMBER_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    camera_id: str
    subject_id: str
    decisions: _containers.RepeatedScalarFieldContainer[IdentifyDecision]
    stranger_number: int
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., camera_id: _Optional[str] = ..., subject_id: _Optional[str] = ..., decisions: _Optional[_Iterable[_Union[IdentifyDecision, str]]] = ..., stranger_number: _Optional[int] = ...) -> None: ...

class WatchSightingsRequest(_message.Message):
    __slots__ = ("collection", "after_sighting_id", "resume_token", "filter", "include_pictures")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    AFTER_SIGHTING_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_PICTURES_FIELD_NUMBER: _ClassVar[int]
    collection: str
    after_sighting_id: str
    resume_token: str
    filter: SightingFilter
    include_pictures: bool
    def __init__(self, collection: _Optional[str] = ..., after_sighting_id: _Optional[str] = ..., resume_token: _Optional[str] = ..., filter: _Optional[_Union[SightingFilter, _Mapping]] = ..., include_pictures: _Optional[bool] = ...) -> None: ...

class WatchSightingsResponse(_message.Message):
    __slots__ = ("sighting_id", "camera_id", "capture_time", "identification", "sighting", "resume_token", "picture_png")
    SIGHTING_ID_FIELD_NUMBER: _ClassVar[int]
    CAMERA_ID_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    IDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    SIGHTING_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PICTURE_PNG_FIELD_NUMBER: _ClassVar[int]
    sighting_id: str
    camera_id: str
    capture_time: _timestamp_pb2.Timestamp
    identification: IdentifyResponse
    sighting: Sighting
    resume_token: str
    picture_png: bytes
    def __init__(self, sighting_id: _Optional[str] = ..., camera_id: _Optional[str] = ..., capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., identification: _Optional[_Union[IdentifyResponse, _Mapping]] = ..., sighting: _Optional[_Union[Sighting, _Mapping]] = ..., resume_token: _Optional[str] = ..., picture_png: _Optional[bytes] = ...) -> None: ...

class ListSightingsRequest(_message.Message):
    __slots__ = ("collection", "filter", "page_size", "page_token")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: SightingFilter
    page_size: int
    page_token: str
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[_Union[SightingFilter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSightingsResponse(_message.Message):
    __slots__ = ("sightings", "next_page_token", "resume_token")
    SIGHTINGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    sightings: _containers.RepeatedCompositeFieldContainer[Sighting]
    next_page_token: str
    resume_token: str
    def __init__(self, sightings: _Optional[_Iterable[_Union[Sighting, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class GetSightingRequest(_message.Message):
    __slots__ = ("collection", "sighting_id", "include_picture")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SIGHTING_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_PICTURE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    sighting_id: str
    include_picture: bool
    def __init__(self, collection: _Optional[str] = ..., sighting_id: _Optional[str] = ..., include_picture: _Optional[bool] = ...) -> None: ...

class GetSightingResponse(_message.Message):
    __slots__ = ("sighting", "picture_png")
    SIGHTING_FIELD_NUMBER: _ClassVar[int]
    PICTURE_PNG_FIELD_NUMBER: _ClassVar[int]
    sighting: Sighting
    picture_png: bytes
    def __init__(self, sighting: _Optional[_Union[Sighting, _Mapping]] = ..., picture_png: _Optional[bytes] = ...) -> None: ...

class DeleteSightingsRequest(_message.Message):
    __slots__ = ("collection", "sighting_ids", "filter", "erasure_wait")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SIGHTING_IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ERASURE_WAIT_FIELD_NUMBER: _ClassVar[int]
    collection: str
    sighting_ids: _containers.RepeatedScalarFieldContainer[str]
    filter: SightingFilter
    erasure_wait: _duration_pb2.Duration
    def __init__(self, collection: _Optional[str] = ..., sighting_ids: _Optional[_Iterable[str]] = ..., filter: _Optional[_Union[SightingFilter, _Mapping]] = ..., erasure_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DeleteSightingsResponse(_message.Message):
    __slots__ = ("sightings_deleted", "erased", "erasure")
    SIGHTINGS_DELETED_FIELD_NUMBER: _ClassVar[int]
    ERASED_FIELD_NUMBER: _ClassVar[int]
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    sightings_deleted: int
    erased: bool
    erasure: int
    def __init__(self, sightings_deleted: _Optional[int] = ..., erased: _Optional[bool] = ..., erasure: _Optional[int] = ...) -> None: ...

class ListCamerasRequest(_message.Message):
    __slots__ = ("collection", "page_size", "page_token")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    page_size: int
    page_token: str
    def __init__(self, collection: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCamerasResponse(_message.Message):
    __slots__ = ("cameras", "next_page_token")
    CAMERAS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    cameras: _containers.RepeatedCompositeFieldContainer[Camera]
    next_page_token: str
    def __init__(self, cameras: _Optional[_Iterable[_Union[Camera, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Camera(_message.Message):
    __slots__ = ("camera_id", "last_time", "last_receive_time", "sightings", "matches", "failures")
    CAMERA_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    SIGHTINGS_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    camera_id: str
    last_time: _timestamp_pb2.Timestamp
    last_receive_time: _timestamp_pb2.Timestamp
    sightings: int
    matches: int
    failures: int
    def __init__(self, camera_id: _Optional[str] = ..., last_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sightings: _Optional[int] = ..., matches: _Optional[int] = ..., failures: _Optional[int] = ...) -> None: ...

class ListStrangersRequest(_message.Message):
    __slots__ = ("collection", "page_size", "page_token", "min_sightings")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MIN_SIGHTINGS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    page_size: int
    page_token: str
    min_sightings: int
    def __init__(self, collection: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., min_sightings: _Optional[int] = ...) -> None: ...

class ListStrangersResponse(_message.Message):
    __slots__ = ("strangers", "next_page_token", "resume_token")
    STRANGERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    strangers: _containers.RepeatedCompositeFieldContainer[Stranger]
    next_page_token: str
    resume_token: str
    def __init__(self, strangers: _Optional[_Iterable[_Union[Stranger, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class Stranger(_message.Message):
    __slots__ = ("stranger_number", "sightings", "camera_ids", "cameras", "first_time", "last_time", "best_sighting_id")
    STRANGER_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SIGHTINGS_FIELD_NUMBER: _ClassVar[int]
    CAMERA_IDS_FIELD_NUMBER: _ClassVar[int]
    CAMERAS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_TIME_FIELD_NUMBER: _ClassVar[int]
    BEST_SIGHTING_ID_FIELD_NUMBER: _ClassVar[int]
    stranger_number: int
    sightings: int
    camera_ids: _containers.RepeatedScalarFieldContainer[str]
    cameras: int
    first_time: _timestamp_pb2.Timestamp
    last_time: _timestamp_pb2.Timestamp
    best_sighting_id: str
    def __init__(self, stranger_number: _Optional[int] = ..., sightings: _Optional[int] = ..., camera_ids: _Optional[_Iterable[str]] = ..., cameras: _Optional[int] = ..., first_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., best_sighting_id: _Optional[str] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("map",)
    MAP_FIELD_NUMBER: _ClassVar[int]
    map: _compact_map_pb2.CompactMap
    def __init__(self, map: _Optional[_Union[_compact_map_pb2.CompactMap, _Mapping]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("embedding", "embedding_space")
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_SPACE_FIELD_NUMBER: _ClassVar[int]
    embedding: _containers.RepeatedScalarFieldContainer[float]
    embedding_space: str
    def __init__(self, embedding: _Optional[_Iterable[float]] = ..., embedding_space: _Optional[str] = ...) -> None: ...

class ReconstructRequest(_message.Message):
    __slots__ = ("collection", "probe")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    probe: Probe
    def __init__(self, collection: _Optional[str] = ..., probe: _Optional[_Union[Probe, _Mapping]] = ...) -> None: ...

class ReconstructResponse(_message.Message):
    __slots__ = ("png",)
    PNG_FIELD_NUMBER: _ClassVar[int]
    png: bytes
    def __init__(self, png: _Optional[bytes] = ...) -> None: ...

class GetRecognizerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetRecognizerInfoResponse(_message.Message):
    __slots__ = ("version", "model_family", "model_version", "embedding_space", "codecs", "max_batch", "max_subjects", "max_map_bytes", "min_quality", "device", "max_batch_wait", "max_message_bytes", "max_faces_per_subject", "max_stream_maps", "stream_retention")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FAMILY_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_SPACE_FIELD_NUMBER: _ClassVar[int]
    CODECS_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    MAX_SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    MAX_MAP_BYTES_FIELD_NUMBER: _ClassVar[int]
    MIN_QUALITY_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_WAIT_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_FACES_PER_SUBJECT_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAM_MAPS_FIELD_NUMBER: _ClassVar[int]
    STREAM_RETENTION_FIELD_NUMBER: _ClassVar[int]
    version: str
    model_family: str
    model_version: str
    embedding_space: str
    codecs: _containers.RepeatedCompositeFieldContainer[Codec]
    max_batch: int
    max_subjects: int
    max_map_bytes: int
    min_quality: float
    device: str
    max_batch_wait: _duration_pb2.Duration
    max_message_bytes: int
    max_faces_per_subject: int
    max_stream_maps: int
    stream_retention: _duration_pb2.Duration
    def __init__(self, version: _Optional[str] = ..., model_family: _Optional[str] = ..., model_version: _Optional[str] = ..., embedding_space: _Optional[str] = ..., codecs: _Optional[_Iterable[_Union[Codec, _Mapping]]] = ..., max_batch: _Optional[int] = ..., max_subjects: _Optional[int] = ..., max_map_bytes: _Optional[int] = ..., min_quality: _Optional[float] = ..., device: _Optional[str] = ..., max_batch_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_message_bytes: _Optional[int] = ..., max_faces_per_subject: _Optional[int] = ..., max_stream_maps: _Optional[int] = ..., stream_retention: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Codec(_message.Message):
    __slots__ = ("codec_id", "operating_point", "channels", "levels", "layout", "spared")
    CODEC_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATING_POINT_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    SPARED_FIELD_NUMBER: _ClassVar[int]
    codec_id: str
    operating_point: str
    channels: int
    levels: int
    layout: str
    spared: int
    def __init__(self, codec_id: _Optional[str] = ..., operating_point: _Optional[str] = ..., channels: _Optional[int] = ..., levels: _Optional[int] = ..., layout: _Optional[str] = ..., spared: _Optional[int] = ...) -> None: ...
