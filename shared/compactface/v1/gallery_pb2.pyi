import datetime

from compactface.v1 import authorization_pb2 as _authorization_pb2
from compactface.v1 import compact_map_pb2 as _compact_map_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubjectScore(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUBJECT_SCORE_UNSPECIFIED: _ClassVar[SubjectScore]
    SUBJECT_SCORE_BEST_FACE: _ClassVar[SubjectScore]
    SUBJECT_SCORE_MEAN_TEMPLATE: _ClassVar[SubjectScore]

class OnDuplicate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_DUPLICATE_UNSPECIFIED: _ClassVar[OnDuplicate]
    ON_DUPLICATE_REJECT: _ClassVar[OnDuplicate]
    ON_DUPLICATE_ALLOW: _ClassVar[OnDuplicate]

class DoubtKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DOUBT_KIND_UNSPECIFIED: _ClassVar[DoubtKind]
    DOUBT_KIND_LOOKS_LIKE_ANOTHER: _ClassVar[DoubtKind]
    DOUBT_KIND_UNLIKE_ITS_OWN: _ClassVar[DoubtKind]

class AuditOperation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIT_OPERATION_UNSPECIFIED: _ClassVar[AuditOperation]
    AUDIT_OPERATION_CREATE_COLLECTION: _ClassVar[AuditOperation]
    AUDIT_OPERATION_UPDATE_COLLECTION: _ClassVar[AuditOperation]
    AUDIT_OPERATION_DELETE_COLLECTION: _ClassVar[AuditOperation]
    AUDIT_OPERATION_ENROLL: _ClassVar[AuditOperation]
    AUDIT_OPERATION_UPDATE_SUBJECT: _ClassVar[AuditOperation]
    AUDIT_OPERATION_DELETE_SUBJECT: _ClassVar[AuditOperation]
    AUDIT_OPERATION_DELETE_FACE: _ClassVar[AuditOperation]
    AUDIT_OPERATION_EXPIRE_SUBJECT: _ClassVar[AuditOperation]
    AUDIT_OPERATION_EXPORT: _ClassVar[AuditOperation]
    AUDIT_OPERATION_IMPORT: _ClassVar[AuditOperation]
    AUDIT_OPERATION_EMBED: _ClassVar[AuditOperation]
    AUDIT_OPERATION_RECONSTRUCT: _ClassVar[AuditOperation]
    AUDIT_OPERATION_DELETE_SIGHTINGS: _ClassVar[AuditOperation]
    AUDIT_OPERATION_CREATE_ALERT_RULE: _ClassVar[AuditOperation]
    AUDIT_OPERATION_DELETE_ALERT_RULE: _ClassVar[AuditOperation]
    AUDIT_OPERATION_MERGE_SUBJECTS: _ClassVar[AuditOperation]
SUBJECT_SCORE_UNSPECIFIED: SubjectScore
SUBJECT_SCORE_BEST_FACE: SubjectScore
SUBJECT_SCORE_MEAN_TEMPLATE: SubjectScore
ON_DUPLICATE_UNSPECIFIED: OnDuplicate
ON_DUPLICATE_REJECT: OnDuplicate
ON_DUPLICATE_ALLOW: OnDuplicate
DOUBT_KIND_UNSPECIFIED: DoubtKind
DOUBT_KIND_LOOKS_LIKE_ANOTHER: DoubtKind
DOUBT_KIND_UNLIKE_ITS_OWN: DoubtKind
AUDIT_OPERATION_UNSPECIFIED: AuditOperation
AUDIT_OPERATION_CREATE_COLLECTION: AuditOperation
AUDIT_OPERATION_UPDATE_COLLECTION: AuditOperation
AUDIT_OPERATION_DELETE_COLLECTION: AuditOperation
AUDIT_OPERATION_ENROLL: AuditOperation
AUDIT_OPERATION_UPDATE_SUBJECT: AuditOperation
AUDIT_OPERATION_DELETE_SUBJECT: AuditOperation
AUDIT_OPERATION_DELETE_FACE: AuditOperation
AUDIT_OPERATION_EXPIRE_SUBJECT: AuditOperation
AUDIT_OPERATION_EXPORT: AuditOperation
AUDIT_OPERATION_IMPORT: AuditOperation
AUDIT_OPERATION_EMBED: AuditOperation
AUDIT_OPERATION_RECONSTRUCT: AuditOperation
AUDIT_OPERATION_DELETE_SIGHTINGS: AuditOperation
AUDIT_OPERATION_CREATE_ALERT_RULE: AuditOperation
AUDIT_OPERATION_DELETE_ALERT_RULE: AuditOperation
AUDIT_OPERATION_MERGE_SUBJECTS: AuditOperation

class Collection(_message.Message):
    __slots__ = ("collection_id", "max_fpir", "max_fmr", "sighting_retention", "create_time", "subject_count", "face_count", "max_subjects", "max_faces", "subject_retention", "subject_score", "max_stranger_fpir", "min_liveness", "calibration_check")
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_FPIR_FIELD_NUMBER: _ClassVar[int]
    MAX_FMR_FIELD_NUMBER: _ClassVar[int]
    SIGHTING_RETENTION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_COUNT_FIELD_NUMBER: _ClassVar[int]
    FACE_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    MAX_FACES_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_RETENTION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_SCORE_FIELD_NUMBER: _ClassVar[int]
    MAX_STRANGER_FPIR_FIELD_NUMBER: _ClassVar[int]
    MIN_LIVENESS_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_CHECK_FIELD_NUMBER: _ClassVar[int]
    collection_id: str
    max_fpir: float
    max_fmr: float
    sighting_retention: _duration_pb2.Duration
    create_time: _timestamp_pb2.Timestamp
    subject_count: int
    face_count: int
    max_subjects: int
    max_faces: int
    subject_retention: _duration_pb2.Duration
    subject_score: SubjectScore
    max_stranger_fpir: float
    min_liveness: float
    calibration_check: CalibrationCheck
    def __init__(self, collection_id: _Optional[str] = ..., max_fpir: _Optional[float] = ..., max_fmr: _Optional[float] = ..., sighting_retention: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., subject_count: _Optional[int] = ..., face_count: _Optional[int] = ..., max_subjects: _Optional[int] = ..., max_faces: _Optional[int] = ..., subject_retention: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., subject_score: _Optional[_Union[SubjectScore, str]] = ..., max_stranger_fpir: _Optional[float] = ..., min_liveness: _Optional[float] = ..., calibration_check: _Optional[_Union[CalibrationCheck, _Mapping]] = ...) -> None: ...

class CalibrationCheck(_message.Message):
    __slots__ = ("verdict", "probes", "min_probes", "expected_rate", "observed_rate", "low", "high", "since_time")
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VERDICT_UNSPECIFIED: _ClassVar[CalibrationCheck.Verdict]
        VERDICT_TOO_FEW: _ClassVar[CalibrationCheck.Verdict]
        VERDICT_HOLDS: _ClassVar[CalibrationCheck.Verdict]
        VERDICT_HIGHER: _ClassVar[CalibrationCheck.Verdict]
    VERDICT_UNSPECIFIED: CalibrationCheck.Verdict
    VERDICT_TOO_FEW: CalibrationCheck.Verdict
    VERDICT_HOLDS: CalibrationCheck.Verdict
    VERDICT_HIGHER: CalibrationCheck.Verdict
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    MIN_PROBES_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_RATE_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_RATE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    verdict: CalibrationCheck.Verdict
    probes: int
    min_probes: int
    expected_rate: float
    observed_rate: float
    low: float
    high: float
    since_time: _timestamp_pb2.Timestamp
    def __init__(self, verdict: _Optional[_Union[CalibrationCheck.Verdict, str]] = ..., probes: _Optional[int] = ..., min_probes: _Optional[int] = ..., expected_rate: _Optional[float] = ..., observed_rate: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateCollectionRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class CreateCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class GetCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("collections", "next_page_token")
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[Collection]
    next_page_token: str
    def __init__(self, collections: _Optional[_Iterable[_Union[Collection, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateCollectionRequest(_message.Message):
    __slots__ = ("collection", "update_mask")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UpdateCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class DeleteCollectionRequest(_message.Message):
    __slots__ = ("collection", "force", "erasure_wait")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    ERASURE_WAIT_FIELD_NUMBER: _ClassVar[int]
    collection: str
    force: bool
    erasure_wait: _duration_pb2.Duration
    def __init__(self, collection: _Optional[str] = ..., force: _Optional[bool] = ..., erasure_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DeleteCollectionResponse(_message.Message):
    __slots__ = ("faces_deleted", "erased", "erasure")
    FACES_DELETED_FIELD_NUMBER: _ClassVar[int]
    ERASED_FIELD_NUMBER: _ClassVar[int]
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    faces_deleted: int
    erased: bool
    erasure: int
    def __init__(self, faces_deleted: _Optional[int] = ..., erased: _Optional[bool] = ..., erasure: _Optional[int] = ...) -> None: ...

class Subject(_message.Message):
    __slots__ = ("subject_id", "display_name", "create_time", "face_count", "metadata", "labels", "expire_time", "revision")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    FACE_COUNT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    subject_id: str
    display_name: str
    create_time: _timestamp_pb2.Timestamp
    face_count: int
    metadata: _containers.ScalarMap[str, str]
    labels: _containers.RepeatedScalarFieldContainer[str]
    expire_time: _timestamp_pb2.Timestamp
    revision: int
    def __init__(self, subject_id: _Optional[str] = ..., display_name: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., face_count: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ..., labels: _Optional[_Iterable[str]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class EnrolledFace(_message.Message):
    __slots__ = ("face_id", "subject_id", "codec_id", "size_bytes", "quality", "capture_time", "create_time")
    FACE_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    CODEC_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    face_id: str
    subject_id: str
    codec_id: str
    size_bytes: int
    quality: float
    capture_time: _timestamp_pb2.Timestamp
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, face_id: _Optional[str] = ..., subject_id: _Optional[str] = ..., codec_id: _Optional[str] = ..., size_bytes: _Optional[int] = ..., quality: _Optional[float] = ..., capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class EnrollRequest(_message.Message):
    __slots__ = ("collection", "subject_id", "display_name", "maps", "on_duplicate", "request_id", "create_only", "metadata", "labels", "expire_time", "allow_low_quality", "sighting_ids", "stranger_number")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    MAPS_FIELD_NUMBER: _ClassVar[int]
    ON_DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    ALLOW_LOW_QUALITY_FIELD_NUMBER: _ClassVar[int]
    SIGHTING_IDS_FIELD_NUMBER: _ClassVar[int]
    STRANGER_NUMBER_FIELD_NUMBER: _ClassVar[int]
    collection: str
    subject_id: str
    display_name: str
    maps: _containers.RepeatedCompositeFieldContainer[_compact_map_pb2.CompactMap]
    on_duplicate: OnDuplicate
    request_id: str
    create_only: bool
    metadata: _containers.ScalarMap[str, str]
    labels: _containers.RepeatedScalarFieldContainer[str]
    expire_time: _timestamp_pb2.Timestamp
    allow_low_quality: bool
    sighting_ids: _containers.RepeatedScalarFieldContainer[str]
    stranger_number: int
    def __init__(self, collection: _Optional[str] = ..., subject_id: _Optional[str] = ..., display_name: _Optional[str] = ..., maps: _Optional[_Iterable[_Union[_compact_map_pb2.CompactMap, _Mapping]]] = ..., on_duplicate: _Optional[_Union[OnDuplicate, str]] = ..., request_id: _Optional[str] = ..., create_only: _Optional[bool] = ..., metadata: _Optional[_Mapping[str, str]] = ..., labels: _Optional[_Iterable[str]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., allow_low_quality: _Optional[bool] = ..., sighting_ids: _Optional[_Iterable[str]] = ..., stranger_number: _Optional[int] = ...) -> None: ...

class Disagreement(_message.Message):
    __slots__ = ("face_id", "similarity", "threshold")
    FACE_ID_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    face_id: str
    similarity: float
    threshold: float
    def __init__(self, face_id: _Optional[str] = ..., similarity: _Optional[float] = ..., threshold: _Optional[float] = ...) -> None: ...

class EnrollResponse(_message.Message):
    __slots__ = ("subject", "faces", "repeated_request", "disagreements")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    DISAGREEMENTS_FIELD_NUMBER: _ClassVar[int]
    subject: Subject
    faces: _containers.RepeatedCompositeFieldContainer[EnrolledFace]
    repeated_request: bool
    disagreements: _containers.RepeatedCompositeFieldContainer[Disagreement]
    def __init__(self, subject: _Optional[_Union[Subject, _Mapping]] = ..., faces: _Optional[_Iterable[_Union[EnrolledFace, _Mapping]]] = ..., repeated_request: _Optional[bool] = ..., disagreements: _Optional[_Iterable[_Union[Disagreement, _Mapping]]] = ...) -> None: ...

class BulkEnrollRequest(_message.Message):
    __slots__ = ("enroll",)
    ENROLL_FIELD_NUMBER: _ClassVar[int]
    enroll: EnrollRequest
    def __init__(self, enroll: _Optional[_Union[EnrollRequest, _Mapping]] = ...) -> None: ...

class BulkEnrollResponse(_message.Message):
    __slots__ = ("index", "response", "error")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    index: int
    response: EnrollResponse
    error: _status_pb2.Status
    def __init__(self, index: _Optional[int] = ..., response: _Optional[_Union[EnrollResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class GetSubjectRequest(_message.Message):
    __slots__ = ("collection", "subject_id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    subject_id: str
    def __init__(self, collection: _Optional[str] = ..., subject_id: _Optional[str] = ...) -> None: ...

class GetSubjectResponse(_message.Message):
    __slots__ = ("subject", "faces")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    subject: Subject
    faces: _containers.RepeatedCompositeFieldContainer[EnrolledFace]
    def __init__(self, subject: _Optional[_Union[Subject, _Mapping]] = ..., faces: _Optional[_Iterable[_Union[EnrolledFace, _Mapping]]] = ...) -> None: ...

class ReviewSubjectRequest(_message.Message):
    __slots__ = ("collection", "subject_id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    subject_id: str
    def __init__(self, collection: _Optional[str] = ..., subject_id: _Optional[str] = ...) -> None: ...

class Doubt(_message.Message):
    __slots__ = ("kind", "face_id", "other_subject_id", "other_face_id", "similarity", "threshold")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FACE_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_FACE_ID_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    kind: DoubtKind
    face_id: str
    other_subject_id: str
    other_face_id: str
    similarity: float
    threshold: float
    def __init__(self, kind: _Optional[_Union[DoubtKind, str]] = ..., face_id: _Optional[str] = ..., other_subject_id: _Optional[str] = ..., other_face_id: _Optional[str] = ..., similarity: _Optional[float] = ..., threshold: _Optional[float] = ...) -> None: ...

class ReviewSubjectResponse(_message.Message):
    __slots__ = ("doubts",)
    DOUBTS_FIELD_NUMBER: _ClassVar[int]
    doubts: _containers.RepeatedCompositeFieldContainer[Doubt]
    def __init__(self, doubts: _Optional[_Iterable[_Union[Doubt, _Mapping]]] = ...) -> None: ...

class ListSubjectsRequest(_message.Message):
    __slots__ = ("collection", "page_size", "page_token", "subject_id_prefix", "display_name_contains", "labels")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_PREFIX_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_CONTAINS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    page_size: int
    page_token: str
    subject_id_prefix: str
    display_name_contains: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, collection: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., subject_id_prefix: _Optional[str] = ..., display_name_contains: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class ListSubjectsResponse(_message.Message):
    __slots__ = ("subjects", "next_page_token")
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    subjects: _containers.RepeatedCompositeFieldContainer[Subject]
    next_page_token: str
    def __init__(self, subjects: _Optional[_Iterable[_Union[Subject, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateSubjectRequest(_message.Message):
    __slots__ = ("collection", "subject_id", "display_name", "metadata", "labels", "expire_time", "update_mask", "revision")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    subject_id: str
    display_name: str
    metadata: _containers.ScalarMap[str, str]
    labels: _containers.RepeatedScalarFieldContainer[str]
    expire_time: _timestamp_pb2.Timestamp
    update_mask: _field_mask_pb2.FieldMask
    revision: int
    def __init__(self, collection: _Optional[str] = ..., subject_id: _Optional[str] = ..., display_name: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., labels: _Optional[_Iterable[str]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class UpdateSubjectResponse(_message.Message):
    __slots__ = ("subject",)
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    subject: Subject
    def __init__(self, subject: _Optional[_Union[Subject, _Mapping]] = ...) -> None: ...

class DeleteSubjectRequest(_message.Message):
    __slots__ = ("collection", "subject_id", "erasure_wait")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    ERASURE_WAIT_FIELD_NUMBER: _ClassVar[int]
    collection: str
    subject_id: str
    erasure_wait: _duration_pb2.Duration
    def __init__(self, collection: _Optional[str] = ..., subject_id: _Optional[str] = ..., erasure_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DeleteSubjectResponse(_message.Message):
    __slots__ = ("faces_deleted", "erased", "erasure")
    FACES_DELETED_FIELD_NUMBER: _ClassVar[int]
    ERASED_FIELD_NUMBER: _ClassVar[int]
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    faces_deleted: int
    erased: bool
    erasure: int
    def __init__(self, faces_deleted: _Optional[int] = ..., erased: _Optional[bool] = ..., erasure: _Optional[int] = ...) -> None: ...

class MergeSubjectsRequest(_message.Message):
    __slots__ = ("collection", "subject_id", "merged_subject_id", "request_id", "erasure_wait")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    MERGED_SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ERASURE_WAIT_FIELD_NUMBER: _ClassVar[int]
    collection: str
    subject_id: str
    merged_subject_id: str
    request_id: str
    erasure_wait: _duration_pb2.Duration
    def __init__(self, collection: _Optional[str] = ..., subject_id: _Optional[str] = ..., merged_subject_id: _Optional[str] = ..., request_id: _Optional[str] = ..., erasure_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class MergeSubjectsResponse(_message.Message):
    __slots__ = ("subject", "faces_moved", "repeated_request", "erased", "erasure")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    FACES_MOVED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_REQUEST_FIELD_NUMBER: _ClassVar[int]
    ERASED_FIELD_NUMBER: _ClassVar[int]
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    subject: Subject
    faces_moved: int
    repeated_request: bool
    erased: bool
    erasure: int
    def __init__(self, subject: _Optional[_Union[Subject, _Mapping]] = ..., faces_moved: _Optional[int] = ..., repeated_request: _Optional[bool] = ..., erased: _Optional[bool] = ..., erasure: _Optional[int] = ...) -> None: ...

class GetFaceRequest(_message.Message):
    __slots__ = ("collection", "face_id", "include_picture")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FACE_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_PICTURE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    face_id: str
    include_picture: bool
    def __init__(self, collection: _Optional[str] = ..., face_id: _Optional[str] = ..., include_picture: _Optional[bool] = ...) -> None: ...

class GetFaceResponse(_message.Message):
    __slots__ = ("face", "picture_png")
    FACE_FIELD_NUMBER: _ClassVar[int]
    PICTURE_PNG_FIELD_NUMBER: _ClassVar[int]
    face: EnrolledFace
    picture_png: bytes
    def __init__(self, face: _Optional[_Union[EnrolledFace, _Mapping]] = ..., picture_png: _Optional[bytes] = ...) -> None: ...

class ListFacesRequest(_message.Message):
    __slots__ = ("collection", "subject_id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    subject_id: str
    def __init__(self, collection: _Optional[str] = ..., subject_id: _Optional[str] = ...) -> None: ...

class ListFacesResponse(_message.Message):
    __slots__ = ("faces",)
    FACES_FIELD_NUMBER: _ClassVar[int]
    faces: _containers.RepeatedCompositeFieldContainer[EnrolledFace]
    def __init__(self, faces: _Optional[_Iterable[_Union[EnrolledFace, _Mapping]]] = ...) -> None: ...

class DeleteFaceRequest(_message.Message):
    __slots__ = ("collection", "face_id", "erasure_wait")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FACE_ID_FIELD_NUMBER: _ClassVar[int]
    ERASURE_WAIT_FIELD_NUMBER: _ClassVar[int]
    collection: str
    face_id: str
    erasure_wait: _duration_pb2.Duration
    def __init__(self, collection: _Optional[str] = ..., face_id: _Optional[str] = ..., erasure_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DeleteFaceResponse(_message.Message):
    __slots__ = ("erased", "erasure")
    ERASED_FIELD_NUMBER: _ClassVar[int]
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    erased: bool
    erasure: int
    def __init__(self, erased: _Optional[bool] = ..., erasure: _Optional[int] = ...) -> None: ...

class GetErasureRequest(_message.Message):
    __slots__ = ("erasure", "erasure_wait")
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    ERASURE_WAIT_FIELD_NUMBER: _ClassVar[int]
    erasure: int
    erasure_wait: _duration_pb2.Duration
    def __init__(self, erasure: _Optional[int] = ..., erasure_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetErasureResponse(_message.Message):
    __slots__ = ("erased",)
    ERASED_FIELD_NUMBER: _ClassVar[int]
    erased: bool
    def __init__(self, erased: _Optional[bool] = ...) -> None: ...

class ExportRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class ExportResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class ImportRequest(_message.Message):
    __slots__ = ("collection", "chunk")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    collection: str
    chunk: bytes
    def __init__(self, collection: _Optional[str] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class ImportResponse(_message.Message):
    __slots__ = ("subjects", "faces", "collection")
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    subjects: int
    faces: int
    collection: str
    def __init__(self, subjects: _Optional[int] = ..., faces: _Optional[int] = ..., collection: _Optional[str] = ...) -> None: ...

class ReembedRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class ReembedResponse(_message.Message):
    __slots__ = ("faces_done", "faces_total", "done")
    FACES_DONE_FIELD_NUMBER: _ClassVar[int]
    FACES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    faces_done: int
    faces_total: int
    done: bool
    def __init__(self, faces_done: _Optional[int] = ..., faces_total: _Optional[int] = ..., done: _Optional[bool] = ...) -> None: ...

class AuditEvent(_message.Message):
    __slots__ = ("time", "caller", "operation", "collection_id", "subject_id")
    TIME_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    caller: str
    operation: AuditOperation
    collection_id: str
    subject_id: str
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., caller: _Optional[str] = ..., operation: _Optional[_Union[AuditOperation, str]] = ..., collection_id: _Optional[str] = ..., subject_id: _Optional[str] = ...) -> None: ...

class ListAuditEventsRequest(_message.Message):
    __slots__ = ("collection_id", "subject_id", "start_time", "page_size", "page_token")
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collection_id: str
    subject_id: str
    start_time: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, collection_id: _Optional[str] = ..., subject_id: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAuditEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[AuditEvent]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[AuditEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
