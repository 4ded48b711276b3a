"""Sightings in words, for tables and lines."""

from typing import TYPE_CHECKING

from command_line.output import candidate_text, decision_text

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from compactface.v1.recognizer_pb2 import Sighting


def seen_text(sighting: "Sighting") -> str:
    """Capture time, or receive time if unknown, in seconds."""
    captured = sighting.HasField("capture_time")
    return time_text(sighting.capture_time if captured else sighting.receive_time)


def time_text(time: "Timestamp") -> str:
    """A time in UTC, in seconds."""
    return f"{time.ToDatetime():%Y-%m-%d %H:%M:%S UTC}"


def quality_text(sighting: "Sighting") -> str:
    """The quality; "" if unknown."""
    return f"{sighting.quality:.2f}" if sighting.HasField("quality") else ""


def who_text(sighting: "Sighting") -> str:
    """The identification in words."""
    from compactface.v1.recognizer_pb2 import IDENTIFY_DECISION_MATCH, IdentifyDecision

    if not sighting.HasField("identification"):
        reason = sighting.failure_reason
        return f"not identified ({reason})" if reason else "not identified yet"
    if sighting.stranger_number:
        return f"stranger {sighting.stranger_number}"
    found = sighting.identification
    if found.candidates:
        return candidate_text(found.candidates[0])
    if found.decision == IDENTIFY_DECISION_MATCH:
        return "a deleted subject"
    return decision_text(IdentifyDecision.Name(found.decision))
