"""Sightings: maps streamed by cameras, and their findings. Frozen values without SQL or gRPC."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from recognizer_service.gallery.codec_thresholds import CodecThresholds
from recognizer_service.gallery.limits import check_map, check_range, check_text, shown
from recognizer_service.gallery.storage.schema import MAX_KEY
from recognizer_service.gallery.types import Embedding
from shared.errors import InvalidInput

MAX_DECISIONS = 8


@dataclass(frozen=True, slots=True)
class Sighting:
    """A map streamed by a camera.

    Attributes:
        sighting_id: a UUID created by the sender.
        camera_id: the camera, 1 to 128 printable characters.
        codec_id: which decoder the map needs.
        png: the map.
        quality: as claimed by the encoder, in [0, 1]; None if unknown.
        captured_at: when the picture was taken; None if unknown.
    """

    sighting_id: str
    camera_id: str
    codec_id: str
    png: bytes = field(repr=False)
    quality: float | None = None
    captured_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SightingMatch:
    """The subject that a sighting matches, and how surely.

    Attributes:
        subject_id: the subject; "" if it was deleted.
        display_name: its current name.
        face_id: the matched face.
        similarity: cosine in [-1, 1].
        threshold: the threshold it reached.
        fmr: false match rate of the threshold; None without calibration.
        faces: number of faces searched.
        extrapolated: whether `fmr` rests on a fitted tail.
    """

    subject_id: str
    display_name: str = field(repr=False)
    face_id: str
    similarity: float
    threshold: float
    fmr: float | None
    faces: int
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class SightingFinding:
    """The result of identifying a sighting.

    Attributes:
        decision: name of a recognizer decision; "" if identification failed.
        failure: the reason of the error in that case.
        match: the matched subject; None without a match.
    """

    decision: str
    failure: str = ""
    match: SightingMatch | None = None


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera, as its unexpired sightings show it.

    Attributes:
        camera_id: the camera.
        seen_at: time of its latest sighting, UTC.
        received_at: when its latest sighting was received, UTC.
        sightings: number of sightings.
        matches: number of them that match a subject.
        failures: number of them that could not be identified.
    """

    camera_id: str
    seen_at: datetime
    received_at: datetime
    sightings: int
    matches: int
    failures: int


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A stored sighting with its finding.

    Attributes:
        key: of the row; increases in the order of arrival.
        collection_id: the collection.
        sighting: as received.
        received_at: when, UTC.
        finding: the finding; None if not yet identified.
        position: position of the finding in the order of identification; 0 if there is none.
        stranger: number of the stranger that it shows; 0 if it is in no group.
    """

    key: int
    collection_id: str
    sighting: Sighting
    received_at: datetime
    finding: SightingFinding | None
    position: int
    stranger: int = 0


@dataclass(frozen=True, slots=True)
class SightingFilter:
    """A filter of sightings; all conditions must hold.

    Attributes:
        since: seen at this time or later. A sighting's time is its capture time, or its reception
            time if that is earlier or the capture time is unknown.
        until: seen before this time.
        camera_id: the camera, or the encoder of several; "" for any.
        subject_id: the matched subject; "" for any.
        decisions: one of these decisions; empty: any, or not yet identified.
        stranger: number of the stranger; 0 for any.
    """

    since: datetime | None = None
    until: datetime | None = None
    camera_id: str = ""
    subject_id: str = ""
    decisions: tuple[str, ...] = ()
    stranger: int = 0


@dataclass(frozen=True, slots=True)
class UnknownFace:
    """The face of a sighting that matches no subject, to be grouped with others of its person.

    Attributes:
        embedding: (D,) float32 of length 1.
        space: space of the embedding.
        quality: as judged, in [0, 1]; None if unknown.
        thresholds: the thresholds by codec for a rate of false positives and a number of faces
            compared, without allowance.
        allowance: the cosine by which a threshold rises for the flaws shared with a face, given by
            codec id and map.
    """

    embedding: Embedding = field(repr=False, compare=False)
    space: str
    quality: float | None
    thresholds: Callable[[float, int], CodecThresholds]
    allowance: Callable[[str, bytes], float]


@dataclass(frozen=True, slots=True)
class Stranger:
    """A person who is not enrolled, as unexpired sightings show them.

    Attributes:
        number: counted in the collection from 1, never reused.
        sightings: number of sightings.
        cameras: the cameras that saw the person, latest first.
        first_seen_at: time of the first sighting, UTC.
        last_seen_at: time of the last sighting, UTC.
        best_sighting_id: the sighting of the highest quality.
    """

    number: int
    sightings: int
    cameras: tuple[str, ...]
    first_seen_at: datetime
    last_seen_at: datetime
    best_sighting_id: str


class SightingOutcome(StrEnum):
    """The outcome of storing a sighting."""

    STORED = "stored"
    """Stored durably until its retention ends."""
    DUPLICATE = "duplicate"
    """The same sighting is already stored."""
    DISCARDED = "discarded"
    """The collection keeps no sightings."""


def check_sighting(sighting: Sighting) -> None:
    """Check a sighting against limits that do not depend on the gallery's content."""
    if not _is_uuid(sighting.sighting_id):
        raise InvalidInput(
            "INVALID_SIGHTING_ID",
            f"sighting id {shown(sighting.sighting_id)} is not a UUID in lower case",
            field="sighting_id",
        )
    check_text(sighting.camera_id, "camera_id")
    check_map(sighting.codec_id, sighting.png, sighting.quality, sighting.captured_at)


def check_sighting_filter(only: SightingFilter) -> None:
    """Check the camera and subject ids of a filter."""
    check_text(only.camera_id, "filter.camera_id", least=0)
    check_text(only.subject_id, "filter.subject_id", least=0)
    check_range(len(only.decisions), 0, MAX_DECISIONS, "filter.decisions.size")
    check_range(only.stranger, 0, MAX_KEY, "filter.stranger_number")


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
