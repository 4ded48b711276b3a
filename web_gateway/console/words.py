"""Text for results in the console."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from compactface.client import RequestFailed
from compactface.v1 import encoder_pb2, gallery_pb2, recognizer_pb2
from compactface.v1.compact_map_pb2 import CompactMap
from web_gateway.problems import Problem

_POOR_QUALITY: Final = 0.3  # see Face.quality
_GOOD_QUALITY: Final = 0.6


def decision(answer: recognizer_pb2.IdentifyResponse) -> str:
    """Describe a decision and its error rate."""
    pb = recognizer_pb2
    if answer.decision == pb.IDENTIFY_DECISION_EMPTY_GALLERY:
        return "Nobody is enrolled in this collection."
    if answer.decision == pb.IDENTIFY_DECISION_LOW_QUALITY:
        return "The picture is too poor to conclude anything from it."
    if answer.decision == pb.IDENTIFY_DECISION_MATCH:
        return f"Match. {promise(answer.threshold)}"
    return f"Nobody who is enrolled. {promise(answer.threshold)}"


def outcome(answer: recognizer_pb2.IdentifyResponse) -> str:
    """Describe who a face is taken for."""
    if answer.decision == recognizer_pb2.IDENTIFY_DECISION_MATCH:
        best = answer.candidates[0]
        return f"{best.display_name or best.subject_id}. {decision(answer)}"
    return f"unknown. {decision(answer)}"


def counted(number: int, word: str) -> str:
    """A number of things in words."""
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"


def promise(threshold: recognizer_pb2.AppliedThreshold) -> str:
    """Describe the false positive rate at a threshold."""
    if not threshold.fmr:
        return f"Threshold: similarity {threshold.similarity:.3f}; its error rate is not known."
    fpir = 1 - (1 - threshold.fmr) ** max(threshold.faces, 1)
    faces = "1 face" if threshold.faces == 1 else f"{threshold.faces} faces"
    words = f"At most {share(fpir)} would match anybody among {faces} (FPIR {fpir:.2g})"
    return words + (", by extrapolation." if threshold.extrapolated else ".")


def share(rate: float) -> str:
    """Format a rate as a ratio."""
    return f"1 in {round(1 / rate):,} strangers" if rate < 1 else "every stranger"


def quality(value: float) -> str:
    """Describe a quality in words with its number."""
    word = "poor" if value < _POOR_QUALITY else "good" if value >= _GOOD_QUALITY else "fair"
    return f"{word} ({value:.2f})"


def moment(value: Timestamp) -> str:
    """Format a time in UTC, to the second."""
    return value.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if value.seconds else "unknown"


def ago(value: Timestamp) -> str:
    """Describe how long ago a time was, in its largest unit."""
    return lasting(datetime.now(UTC) - value.ToDatetime(UTC)) + " ago"


def lasting(value: timedelta) -> str:
    """Describe a span of time in its largest unit."""
    seconds = max(round(value.total_seconds()), 0)
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return counted(seconds // size, unit)
    return counted(seconds, "second") if seconds else "a moment"


def calibration(check: gallery_pb2.CalibrationCheck) -> str:
    """Describe whether the calibration holds, and if not, what to do."""
    if check.verdict == gallery_pb2.CalibrationCheck.VERDICT_TOO_FEW:
        return f"too few probes yet: {check.probes} of {check.min_probes}"
    found = f"{check.observed_rate:.0%} ({100 * check.low:.0f} to {100 * check.high:.0f})"
    told = f"{found} of {check.probes} probes where {check.expected_rate:.0%} were promised"
    if check.verdict == gallery_pb2.CalibrationCheck.VERDICT_HOLDS:
        return f"holds: {told}"
    return f"higher than calibrated: {told}"


def box(face: encoder_pb2.Face) -> str:
    """Format a face's box for the drawing script: x y width height."""
    found = face.box
    return f"{found.x:.1f} {found.y:.1f} {found.width:.1f} {found.height:.1f}"


def picture(png: bytes) -> str:
    """Encode an image as a data URL, which has no address and is not cached separately."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def packed(map_: CompactMap) -> str:
    """Encode a map for a form field; `pages` decodes it."""
    return base64.b64encode(map_.SerializeToString()).decode()


def operation(value: int) -> str:
    """Describe an operation on a gallery."""
    name: str = gallery_pb2.AuditOperation.Name(value)
    return name.removeprefix("AUDIT_OPERATION_").replace("_", " ").lower()


def is_problem(value: object) -> bool:
    """Whether a value is an error to display."""
    return isinstance(value, Problem | RequestFailed)


def doubt(value: gallery_pb2.Doubt) -> str:
    """Describe why a face is doubtful."""
    shown = f" ({value.similarity:.2f})" if value.similarity else ""  # else it is withheld
    if value.kind == gallery_pb2.DOUBT_KIND_LOOKS_LIKE_ANOTHER:
        return f"looks like {value.other_subject_id}{shown}"
    return f"unlike the others{shown}"


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    each.__name__: each
    for each in (
        *(decision, promise, quality, moment, ago, lasting, counted, box, picture),
        *(packed, operation, is_problem, doubt, calibration),
    )
}
"""Template filters by name."""
