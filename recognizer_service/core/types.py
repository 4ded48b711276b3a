"""What the recognizer is asked and what it answers: the domain's own words, no protobuf."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from recognizer_service.gallery.types import Enrolled, Enrolment, SeenFace, SubjectHit
from shared.inference.quality_head import Judged
from shared.timings import StageTimings


@dataclass(frozen=True, slots=True)
class FaceMap:
    """A compact map as it came in, not yet trusted.

    Attributes:
        codec_id: which decoder it needs.
        png: the map's PNG file.
        quality: in [0, 1] as the encoder asserts, None if unknown.
        capture_time: when the camera took the picture, None if unknown.
        field: path to it in the request, for errors.
        judged: what the map says of the face, None where the model has no head for it; `quality`
            is then the lower of both.
    """

    codec_id: str
    png: bytes = dataclasses.field(repr=False)
    quality: float | None = None
    capture_time: datetime | None = None
    field: str = "map"
    judged: Judged | None = dataclasses.field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class SightingId:
    """A map that a collection has stored, in place of the map itself."""

    id: str


Probe = FaceMap | SightingId


def map_of(seen: SeenFace) -> FaceMap:
    """The map of a sighting."""
    kept = seen.sighting
    return FaceMap(kept.codec_id, kept.png, kept.quality, kept.captured_at, field="sighting_id")


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """Whom to enrol; the faces still as maps.

    Attributes:
        maps: the faces.
        sighting_ids: sightings of the collection whose maps are enrolled, too, after `maps`.
        enrolment: the subject, without faces yet.
        allow_duplicates: enrol even if another subject looks the same.
        allow_low_quality: enrol faces of too low a quality, too.
        request_id: makes the call safe to repeat; "": it is not.
        caller: who asks, and whose request ids these are.
    """

    maps: Sequence[FaceMap]
    enrolment: Enrolment
    allow_duplicates: bool
    request_id: str
    caller: str
    allow_low_quality: bool = False
    sighting_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Doubt:
    """An enrolled face that may not be who it is said to be.

    Attributes:
        face_id: which.
        other_subject_id: whom it looks like; "": it looks unlike the others of its own subject.
        other_face_id: the most similar face, of that subject or of its own.
        similarity: cosine in [-1, 1] to it.
        threshold: reached by look-alikes, and not by those unlike their own.
    """

    face_id: str
    other_subject_id: str
    other_face_id: str
    similarity: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A new face that looks unlike the others of its subject.

    Attributes:
        face_id: the new face.
        similarity: cosine in [-1, 1] to the one of them that it agrees with best.
        threshold: what a verification would have asked for.
    """

    face_id: str
    similarity: float
    threshold: float


@dataclass(frozen=True, slots=True)
class EnrolAnswer:
    """What was enrolled, and which of the new faces are doubtful."""

    enrolled: Enrolled
    disagreements: tuple[Disagreement, ...]


@dataclass(frozen=True, slots=True)
class Criterion:
    """How sure an answer must be: one of the two, or neither for the collection's default.

    Attributes:
        max_rate: largest tolerable rate of false matches in (0, 1): FPIR for 1:N, FMR for 1:1.
        min_similarity: cosine in [-1, 1].
    """

    max_rate: float | None = None
    min_similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """Who is this?

    Attributes:
        collection_id: whom to search.
        probe: what is asked about.
        criterion: how sure the answer must be.
        max_subjects: how many candidates to list.
        picture: names the picture that the probe is a face of; "": it is not known. Of those
            asked together, nobody matches two faces of one picture.
    """

    collection_id: str
    probe: Probe
    criterion: Criterion
    max_subjects: int
    picture: str = ""


@dataclass(frozen=True, slots=True)
class AppliedThreshold:
    """The threshold that was used.

    Attributes:
        similarity: cosine that a match must reach.
        fmr: false match rate per comparison it stands for; None without calibration.
        faces: how many faces were searched.
        calibrated: whether it came from a calibration table (else from the caller).
        extrapolated: whether `fmr` rests on a fitted tail.
        allowance: of `similarity`, what was added for what both faces have wrong in common.
        alike: what that is, what adds most first.
    """

    similarity: float
    fmr: float | None
    faces: int
    calibrated: bool
    extrapolated: bool
    allowance: float = 0.0
    alike: tuple[str, ...] = ()


class Decision(Enum):
    """What came of a question."""

    MATCH = "match"
    NO_MATCH = "no_match"
    LOW_QUALITY = "low_quality"
    EMPTY_GALLERY = "empty_gallery"


@dataclass(slots=True)
class Timings(StageTimings):
    """Wall-clock milliseconds of the stages of one question."""

    unpack_ms: float = 0.0
    embed_ms: float = 0.0
    match_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A subject the probe may show.

    Attributes:
        hit: the subject.
        threshold: what a match must reach, by the codecs of probe and hit.
        taken: whether another face of the same picture matches the subject better.
    """

    hit: SubjectHit
    threshold: AppliedThreshold
    taken: bool = False

    @property
    def margin(self) -> float:
        """By how much the similarity exceeds the threshold."""
        return self.hit.similarity - self.threshold.similarity

    @property
    def matched(self) -> bool:
        """Whether the probe is taken for the subject."""
        return self.margin >= 0 and not self.taken


@dataclass(frozen=True, slots=True)
class Identification:
    """The answer to "who is this?"; candidates are sorted, best first."""

    decision: Decision
    candidates: tuple[Candidate, ...] = ()
    quality_checked: bool = False
    timings: Timings = dataclasses.field(default_factory=Timings)
    probe: FaceMap | None = dataclasses.field(default=None, repr=False)

    @property
    def threshold(self) -> AppliedThreshold | None:
        """What the first candidate had to reach."""
        return self.candidates[0].threshold if self.candidates else None


@dataclass(frozen=True, slots=True)
class Verification:
    """The answer to "is this the same person?".

    Attributes:
        estimated_fmr: share of pairs of strangers at least as similar; None uncalibrated.
        face_id: the most similar face, where a subject was the reference.
    """

    decision: Decision
    similarity: float
    threshold: AppliedThreshold
    estimated_fmr: float | None
    estimate_extrapolated: bool
    face_id: str
    quality_checked: bool
    timings: Timings
    lowest_quality: float | None = None
    probe: FaceMap | None = dataclasses.field(default=None, repr=False)
