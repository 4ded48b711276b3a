"""Domain types of the recognizer's questions and answers, without protobuf."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from recognizer_service.gallery.sightings.types import SeenFace, UnknownFace
from recognizer_service.gallery.types import Enrolled, Enrolment, SubjectHit
from shared.inference.quality_head import Judged
from shared.timings import StageTimings


@dataclass(frozen=True, slots=True)
class FaceMap:
    """A compact map as received, not yet validated.

    Attributes:
        codec_id: selects the decoder.
        png: the map's PNG file.
        quality: in [0, 1] as claimed by the encoder, None if unknown.
        capture_time: when the camera took the picture, None if unknown.
        liveness: in [0, 1] as claimed by the client, None if unknown; see `check_liveness`.
        field: path to it in the request, for errors.
        judged: the judgment of the map's quality head, None without a head; `quality` is then what
            counts of both, see `Judged.given`.
    """

    codec_id: str
    png: bytes = dataclasses.field(repr=False)
    quality: float | None = None
    capture_time: datetime | None = None
    liveness: float | None = None
    field: str = "map"
    judged: Judged | None = dataclasses.field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class SightingId:
    """Refers to a stored map instead of sending the map itself."""

    id: str


Probe = FaceMap | SightingId


def map_of(seen: SeenFace) -> FaceMap:
    """Return the map of a sighting."""
    kept = seen.sighting
    return FaceMap(kept.codec_id, kept.png, kept.quality, kept.captured_at, field="sighting_id")


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """An enrollment whose faces are still maps.

    Attributes:
        maps: the faces.
        sighting_ids: sightings of the collection whose maps are also enrolled, after `maps`. With a
            stranger in `enrolment`, its best ones.
        enrolment: the subject, without faces yet.
        allow_duplicates: enroll even if another subject looks the same.
        allow_low_quality: also enroll faces of low quality.
        request_id: makes the call idempotent; "" if it is not.
        caller: the caller, to whom the request id belongs.
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
    """An enrolled face that may belong to another person.

    Attributes:
        face_id: the face.
        other_subject_id: the subject it looks like; "" if it looks unlike its own subject.
        other_face_id: the most similar face, of that subject or of its own.
        similarity: cosine in [-1, 1] to that face.
        threshold: at least this similar for look-alikes; below it for faces unlike their own.
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
        similarity: cosine in [-1, 1] to the most similar of them.
        threshold: the threshold of a verification.
    """

    face_id: str
    similarity: float
    threshold: float


@dataclass(frozen=True, slots=True)
class EnrolAnswer:
    """The enrolled subject and the doubtful new faces."""

    enrolled: Enrolled
    disagreements: tuple[Disagreement, ...]


@dataclass(frozen=True, slots=True)
class Criterion:
    """How sure an answer must be: one of the two, or neither for the collection's default.

    Attributes:
        max_rate: maximum rate of false matches in (0, 1): FPIR for 1:N, FMR for 1:1.
        min_similarity: cosine in [-1, 1].
    """

    max_rate: float | None = None
    min_similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """An identification request.

    Attributes:
        collection_id: the collection to search.
        probe: the face to identify.
        criterion: how sure the answer must be.
        max_subjects: maximum number of candidates.
        picture: name of the picture that the probe is from; "" if unknown. In a batch, a subject
            matches at most one face of a picture.
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
        fmr: the corresponding false match rate per comparison; None without calibration.
        faces: how many faces were searched.
        calibrated: whether it came from a calibration table (else from the caller).
        extrapolated: whether `fmr` rests on a fitted tail.
        allowance: the part of `similarity` added for flaws that both faces share.
        alike: these flaws, largest contribution first.
    """

    similarity: float
    fmr: float | None
    faces: int
    calibrated: bool
    extrapolated: bool
    allowance: float = 0.0
    alike: tuple[str, ...] = ()


class Decision(Enum):
    """The outcome of a question."""

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
        """How far the similarity exceeds the threshold."""
        return self.hit.similarity - self.threshold.similarity

    @property
    def matched(self) -> bool:
        """Whether the probe matches the subject."""
        return self.margin >= 0 and not self.taken


@dataclass(frozen=True, slots=True)
class Impostor:
    """How close a probe came to the stranger it resembles most; see `drift`.

    Attributes:
        exceeded: whether it reached the threshold of the rate that is checked.
        expected: the probability of that by the calibration.
        runner_up: whether the probe matches another subject.
    """

    exceeded: bool
    expected: float
    runner_up: bool = False


@dataclass(frozen=True, slots=True)
class Identification:
    """The answer to an identification; candidates are sorted, best first.

    `unknown` is the probe if it matches nobody and is fit to be grouped with its like.
    `impostor` tells how close a stranger came, where that is known.
    """

    decision: Decision
    candidates: tuple[Candidate, ...] = ()
    quality_checked: bool = False
    timings: Timings = dataclasses.field(default_factory=Timings)
    probe: FaceMap | None = dataclasses.field(default=None, repr=False)
    unknown: UnknownFace | None = dataclasses.field(default=None, repr=False, compare=False)
    impostor: Impostor | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def threshold(self) -> AppliedThreshold | None:
        """The threshold of the first candidate."""
        return self.candidates[0].threshold if self.candidates else None


@dataclass(frozen=True, slots=True)
class Verification:
    """The answer to a verification.

    Attributes:
        estimated_fmr: share of pairs of strangers at least as similar; None uncalibrated.
        face_id: the most similar face, if the reference was a subject.
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
