"""Converts between gallery types and protobuf messages."""

from collections.abc import Iterable, Mapping

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from compactface.v1 import gallery_pb2, recognizer_pb2
from recognizer_service.api.conversions import calibration_check, face_map, shown_similarity
from recognizer_service.core.drift import CalibrationCheck
from recognizer_service.core.types import Doubt, EnrolAnswer, EnrolRequest
from recognizer_service.gallery.audit import AuditEvent
from recognizer_service.gallery.limits import shown
from recognizer_service.gallery.types import (
    Collection,
    CollectionSettings,
    Enrolment,
    Face,
    Subject,
    SubjectChanges,
    SubjectFilter,
    SubjectScore,
)
from shared.demand import current_demand
from shared.errors import InvalidInput
from shared.serving.timestamps import moment, timestamp

MAX_ERASURE_WAIT_S = 60

_SCORES = {
    gallery_pb2.SUBJECT_SCORE_UNSPECIFIED: SubjectScore.BEST_FACE,
    gallery_pb2.SUBJECT_SCORE_BEST_FACE: SubjectScore.BEST_FACE,
    gallery_pb2.SUBJECT_SCORE_MEAN_TEMPLATE: SubjectScore.MEAN_TEMPLATE,
}
_SCORE_MESSAGES = {score: message for message, score in _SCORES.items()}


def enrol_request(request: gallery_pb2.EnrollRequest, *, caller: str) -> EnrolRequest:
    """Convert an Enroll request.

    Raises:
        InvalidInput: INVALID_TIME.
    """
    return EnrolRequest(
        maps=[
            face_map(message, field=f"maps[{position}]")
            for position, message in enumerate(request.maps)
        ],
        enrolment=Enrolment(
            faces=(),
            subject_id=request.subject_id or None,
            display_name=request.display_name,
            create_only=request.create_only,
            metadata=dict(request.metadata),
            labels=tuple(request.labels),
            expires_at=moment(request.expire_time, field="expire_time")
            if request.HasField("expire_time")
            else None,
            stranger=request.stranger_number,
        ),
        allow_duplicates=request.on_duplicate == gallery_pb2.ON_DUPLICATE_ALLOW,
        allow_low_quality=request.allow_low_quality,
        request_id=request.request_id,
        caller=caller,
        sighting_ids=tuple(request.sighting_ids),
    )


def enroll_response(answer: EnrolAnswer) -> gallery_pb2.EnrollResponse:
    """Build the response to Enroll."""
    return gallery_pb2.EnrollResponse(
        subject=subject_message(answer.enrolled.subject),
        faces=map(face_message, answer.enrolled.faces),
        repeated_request=answer.enrolled.repeated,
        disagreements=[
            gallery_pb2.Disagreement(
                face_id=found.face_id,
                similarity=shown_similarity(found.similarity),
                threshold=found.threshold,
            )
            for found in answer.disagreements
        ],
    )


def doubt_message(doubt: Doubt) -> gallery_pb2.Doubt:
    """Build a doubt message."""
    alike = bool(doubt.other_subject_id)
    return gallery_pb2.Doubt(
        kind=gallery_pb2.DOUBT_KIND_LOOKS_LIKE_ANOTHER
        if alike
        else gallery_pb2.DOUBT_KIND_UNLIKE_ITS_OWN,
        face_id=doubt.face_id,
        other_subject_id=doubt.other_subject_id,
        other_face_id=doubt.other_face_id,
        similarity=shown_similarity(doubt.similarity),
        threshold=doubt.threshold,
    )


def new_settings(message: gallery_pb2.Collection) -> CollectionSettings:
    """Convert the settings of a new collection.

    Rates of 0 and an absent sighting retention take the gallery's defaults.

    Raises:
        InvalidInput: INVALID_SUBJECT_SCORE.
    """
    values = _settings(message)
    unset = {rate for rate in ("max_fpir", "max_fmr") if not getattr(message, rate)}
    if not message.HasField("sighting_retention"):
        unset.add("sighting_retention")
    return _taken(values, values.keys() - unset)


def changed_settings(request: gallery_pb2.UpdateCollectionRequest) -> CollectionSettings:
    """Convert the changed settings of a collection.

    Raises:
        InvalidInput: INVALID_UPDATE_MASK or INVALID_SUBJECT_SCORE.
    """
    values = _settings(request.collection)
    return _taken(values, _paths(request.update_mask, values))


def _settings(message: gallery_pb2.Collection) -> dict[str, CollectionSettings]:
    """Return the settings by field name."""
    return {
        "max_fpir": {"max_fpir": message.max_fpir},
        "max_fmr": {"max_fmr": message.max_fmr},
        "sighting_retention": {"sighting_retention_s": _whole_seconds(message.sighting_retention)},
        "max_subjects": {"max_subjects": message.max_subjects},
        "max_faces": {"max_faces": message.max_faces},
        "subject_retention": {"subject_retention_s": _whole_seconds(message.subject_retention)},
        "subject_score": {"subject_score": _score(message.subject_score)},
        "max_stranger_fpir": {"max_stranger_fpir": message.max_stranger_fpir},
        "min_liveness": {"min_liveness": message.min_liveness},
    }


def _taken(values: Mapping[str, CollectionSettings], names: Iterable[str]) -> CollectionSettings:
    settings = CollectionSettings()
    for name in names:
        settings.update(values[name])
    return settings


def subject_changes(request: gallery_pb2.UpdateSubjectRequest) -> SubjectChanges:
    """Convert the changes to a subject.

    Raises:
        InvalidInput: INVALID_UPDATE_MASK or INVALID_TIME.
    """
    expires_at = None
    if request.HasField("expire_time"):
        expires_at = moment(request.expire_time, field="expire_time")
    values: dict[str, SubjectChanges] = {
        "display_name": {"display_name": request.display_name},
        "metadata": {"metadata": dict(request.metadata)},
        "labels": {"labels": tuple(request.labels)},
        "expire_time": {"expires_at": expires_at},
    }
    changes = SubjectChanges()
    for path in _paths(request.update_mask, values, default="display_name"):
        changes.update(values[path])
    return changes


def subject_filter(request: gallery_pb2.ListSubjectsRequest) -> SubjectFilter:
    """Convert the filter of ListSubjects."""
    return SubjectFilter(
        id_prefix=request.subject_id_prefix,
        name_contains=request.display_name_contains,
        labels=tuple(request.labels),
    )


def erasure_wait_s(
    request: gallery_pb2.DeleteCollectionRequest
    | gallery_pb2.DeleteSubjectRequest
    | gallery_pb2.DeleteFaceRequest
    | gallery_pb2.GetErasureRequest
    | gallery_pb2.MergeSubjectsRequest
    | recognizer_pb2.DeleteSightingsRequest,
) -> float:
    """Return how long to wait for an erasure, in seconds.

    Raises:
        InvalidInput: OUT_OF_RANGE.
    """
    wait = request.erasure_wait
    seconds = wait.seconds + wait.nanos / 1e9
    if not 0 <= seconds <= MAX_ERASURE_WAIT_S:
        raise InvalidInput(
            "OUT_OF_RANGE",
            f"erasure_wait is {seconds:g} s; it must be 0 to {MAX_ERASURE_WAIT_S}",
            field="erasure_wait",
        )
    return seconds


def collection_message(collection: Collection, check: CalibrationCheck) -> gallery_pb2.Collection:
    """Build a collection message; only callers with the scope admin get the check."""
    message = gallery_pb2.Collection(
        collection_id=collection.collection_id,
        max_fpir=collection.max_fpir,
        max_fmr=collection.max_fmr,
        create_time=timestamp(collection.created_at),
        subject_count=collection.subject_count,
        face_count=collection.face_count,
        max_subjects=collection.max_subjects,
        max_faces=collection.max_faces,
        subject_score=_SCORE_MESSAGES[collection.subject_score],
        max_stranger_fpir=collection.max_stranger_fpir,
        min_liveness=collection.min_liveness,
    )
    message.sighting_retention.FromSeconds(collection.sighting_retention_s)
    message.subject_retention.FromSeconds(collection.subject_retention_s)
    if current_demand().trusted:
        message.calibration_check.CopyFrom(calibration_check(check))
    return message


def subject_message(subject: Subject) -> gallery_pb2.Subject:
    """Build a subject message."""
    return gallery_pb2.Subject(
        subject_id=subject.subject_id,
        display_name=subject.display_name,
        create_time=timestamp(subject.created_at),
        face_count=subject.face_count,
        metadata=subject.metadata,
        labels=subject.labels,
        expire_time=timestamp(subject.expires_at) if subject.expires_at else None,
        revision=subject.revision,
    )


def face_message(face: Face) -> gallery_pb2.EnrolledFace:
    """Build a message of an enrolled face, without its map."""
    return gallery_pb2.EnrolledFace(
        face_id=face.face_id,
        subject_id=face.subject_id,
        codec_id=face.codec_id,
        size_bytes=len(face.png),
        quality=face.quality,
        capture_time=timestamp(face.captured_at) if face.captured_at else None,
        create_time=timestamp(face.created_at),
    )


def audit_message(event: AuditEvent) -> gallery_pb2.AuditEvent:
    """Build an audit event message."""
    return gallery_pb2.AuditEvent(
        time=timestamp(event.at),
        caller=event.caller,
        operation=f"AUDIT_OPERATION_{event.operation.name}",
        collection_id=event.collection_id,
        subject_id=event.subject_id,
    )


def _whole_seconds(message: Duration) -> int:
    """Return a duration in seconds, rounded up."""
    return message.seconds + (message.nanos > 0)


def _score(message: gallery_pb2.SubjectScore) -> SubjectScore:
    score = _SCORES.get(message)
    if score is None:
        raise InvalidInput(
            "INVALID_SUBJECT_SCORE",
            f"subject_score is {message}; it must be one of 0 to {max(_SCORES)}",
            field="subject_score",
        )
    return score


def _paths(mask: FieldMask, known: Iterable[str], *, default: str = "") -> list[str]:
    """Return the fields that a mask names, or the default if it names none."""
    paths = list(mask.paths) or [default]
    for path in paths:
        if path not in known:
            what = f"names {shown(path)}" if path else "is empty"
            raise InvalidInput(
                "INVALID_UPDATE_MASK",
                f"update_mask {what}; what can be changed is {', '.join(known)}",
                field="update_mask",
            )
    return paths
