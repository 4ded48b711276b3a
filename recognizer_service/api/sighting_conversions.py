"""Converts between sightings and protobuf messages."""

from collections.abc import Sequence

from compactface.v1 import recognizer_pb2
from recognizer_service.api.conversions import IDENTIFY_DECISIONS, shown_similarity
from recognizer_service.core.types import Decision
from recognizer_service.gallery.paging import page_token, parse_key, parse_token
from recognizer_service.gallery.sightings.types import (
    Camera,
    SeenFace,
    SightingFilter,
    SightingFinding,
    SightingMatch,
    Stranger,
)
from shared.demand import current_demand
from shared.errors import InvalidInput
from shared.serving.timestamps import moment, timestamp

MAX_CAMERAS = 32
"""Maximum number of cameras listed of a stranger."""
_DECISIONS = {decision.value: message for decision, message in IDENTIFY_DECISIONS.items()}
_NAMES = {message: name for name, message in _DECISIONS.items()}


def streamed(
    request: recognizer_pb2.StreamMapsRequest,
) -> Sequence[recognizer_pb2.StreamedMap]:
    """Return the maps of one message, from the repeated field or the older single one."""
    if request.maps:
        return request.maps
    return [
        recognizer_pb2.StreamedMap(
            sighting_id=request.sighting_id,
            map=request.map,
            request_id=request.request_id,
            camera=request.camera,
        )
    ]


def sighting_filter(message: recognizer_pb2.SightingFilter) -> SightingFilter:
    """Convert a filter of sightings.

    Raises:
        InvalidInput: INVALID_TIME or INVALID_DECISION.
    """
    since = until = None
    if message.HasField("start_time"):
        since = moment(message.start_time, field="filter.start_time")
    if message.HasField("end_time"):
        until = moment(message.end_time, field="filter.end_time")
    for decision in message.decisions:
        if decision not in _NAMES:
            raise InvalidInput(
                "INVALID_DECISION",
                f"decision is {decision}; it must be one of {min(_NAMES)} to {max(_NAMES)}",
                field="filter.decisions",
            )
    return SightingFilter(
        since,
        until,
        message.camera_id,
        message.subject_id,
        tuple(_NAMES[decision] for decision in message.decisions),
        message.stranger_number,
    )


def sighting_message(seen: SeenFace) -> recognizer_pb2.Sighting:
    """Build a sighting message."""
    kept = seen.sighting
    message = recognizer_pb2.Sighting(
        sighting_id=kept.sighting_id,
        camera_id=kept.camera_id,
        capture_time=timestamp(kept.captured_at) if kept.captured_at else None,
        receive_time=timestamp(seen.received_at),
        quality=kept.quality,
        codec_id=kept.codec_id,
        size_bytes=len(kept.png),
        stranger_number=seen.stranger,
    )
    if finding := seen.finding:
        if finding.decision:
            message.identification.CopyFrom(_identification(finding))
            message.identification.quality_checked = (
                kept.quality is not None and finding.decision != Decision.EMPTY_GALLERY.value
            )
        message.failure_reason = finding.failure
    return message


def camera_message(camera: Camera) -> recognizer_pb2.Camera:
    """Build a camera message."""
    return recognizer_pb2.Camera(
        camera_id=camera.camera_id,
        last_time=timestamp(camera.seen_at),
        last_receive_time=timestamp(camera.received_at),
        sightings=camera.sightings,
        matches=camera.matches,
        failures=camera.failures,
    )


def stranger_message(stranger: Stranger) -> recognizer_pb2.Stranger:
    """Build a stranger message."""
    return recognizer_pb2.Stranger(
        stranger_number=stranger.number,
        sightings=stranger.sightings,
        camera_ids=stranger.cameras[:MAX_CAMERAS],
        cameras=len(stranger.cameras),
        first_time=timestamp(stranger.first_seen_at),
        last_time=timestamp(stranger.last_seen_at),
        best_sighting_id=stranger.best_sighting_id,
    )


def watch_response(seen: SeenFace) -> recognizer_pb2.WatchSightingsResponse:
    """Build a WatchSightings response, with the token to resume from."""
    message = sighting_message(seen)
    return recognizer_pb2.WatchSightingsResponse(
        sighting_id=message.sighting_id,
        camera_id=message.camera_id,
        capture_time=message.capture_time if message.HasField("capture_time") else None,
        identification=message.identification if message.HasField("identification") else None,
        sighting=message,
        resume_token=resume_token(seen.position),
    )


def resume_token(position: int) -> str:
    """Return the token of a position in the order of identification."""
    return page_token(str(position))


def position(resume_token: str) -> int:
    """Return the position that a resume token encodes.

    Raises:
        InvalidInput: INVALID_RESUME_TOKEN.
    """
    return parse_token(resume_token, parse_key, field="resume_token")


def _identification(finding: SightingFinding) -> recognizer_pb2.IdentifyResponse:
    answer = recognizer_pb2.IdentifyResponse(
        decision=_DECISIONS[finding.decision],
        similarities_withheld=not current_demand().trusted,
    )
    if match := finding.match:
        answer.threshold.CopyFrom(_threshold(match))
        if match.subject_id:
            answer.candidates.add(
                subject_id=match.subject_id,
                display_name=match.display_name,
                face_id=match.face_id,
                similarity=shown_similarity(match.similarity),
                matched=True,
                threshold=match.threshold,
            )
    return answer


def _threshold(match: SightingMatch) -> recognizer_pb2.AppliedThreshold:
    return recognizer_pb2.AppliedThreshold(
        similarity=match.threshold,
        fmr=match.fmr or 0.0,
        faces=match.faces,
        method=recognizer_pb2.AppliedThreshold.METHOD_CALIBRATION,
        extrapolated=match.extrapolated,
    )
