"""What the gallery takes and gives: frozen values that know neither SQL nor gRPC.

Names, maps and embeddings are left out of every ``repr``, so that none can slip into a log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.errors import FailedPrecondition

Embedding = NDArray[np.float32]
"""One face as the extractor sees it: (D,) float32 of length 1, D being its space's size."""

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True)
class Page(Generic[RecordT]):
    """One page of a listing.

    Attributes:
        items: at most as many as were asked for, in a stable order.
        next_page_token: for the page after this one; "" where this is the last.
    """

    items: tuple[RecordT, ...]
    next_page_token: str


class SubjectChanges(TypedDict, total=False):
    """What can be changed of a `Subject`; `expires_at` None: as its collection has it."""

    display_name: str
    metadata: Mapping[str, str]
    labels: Sequence[str]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Subject:
    """An enrolled person.

    Attributes:
        subject_id: unique in the collection, 1 to 128 printable characters.
        display_name: for people, at most 256 characters.
        created_at: when first enrolled, UTC.
        face_count: faces enrolled.
        metadata: facts the caller keeps here, at most 32.
        labels: words to list subjects by, sorted, at most 32.
        expires_at: when it is deleted, by itself or its collection's retention; None: never.
        revision: raised with every change of name, metadata, labels and expiry; 1 at first.
    """

    subject_id: str
    display_name: str = field(repr=False)
    created_at: datetime
    face_count: int
    metadata: Mapping[str, str] = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    expires_at: datetime | None
    revision: int


@dataclass(frozen=True, slots=True)
class SubjectFilter:
    """Which subjects to list: those that pass all of it.

    Attributes:
        id_prefix: how the id begins.
        name_contains: part of the display name, in either case, spelling and width.
        labels: all of which the subject must have.
    """

    id_prefix: str = ""
    name_contains: str = field(default="", repr=False)
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Face:
    """One enrolled map of a subject.

    Attributes:
        face_id: made by the gallery, unique in all of it.
        subject_id: whose it is.
        codec_id: which decoder the map needs.
        png: the map.
        quality: as asserted at enrolment, in [0, 1]; None: unknown.
        captured_at: when the camera took the picture; None: unknown.
        created_at: when it was enrolled, UTC.
    """

    face_id: str
    subject_id: str
    codec_id: str
    png: bytes = field(repr=False)
    quality: float | None
    captured_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewFace:
    """A face to enrol; attributes as in `Face`, and its embedding in the gallery's space."""

    codec_id: str
    png: bytes = field(repr=False)
    embedding: Embedding = field(repr=False, compare=False)
    quality: float | None = None
    captured_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Whom to enrol.

    Attributes:
        faces: the faces to add, at least one.
        subject_id: the subject, new or known; None: the gallery makes an id.
        display_name: for people; "" keeps the name of a known subject.
        create_only: refuse if the subject is known.
        metadata: as in `Subject`; none keeps what a known subject has.
        labels: as in `Subject`; none keeps those of a known subject.
        expires_at: when to delete the subject; None keeps that of a known subject.
    """

    faces: tuple[NewFace, ...]
    subject_id: str | None = None
    display_name: str = field(default="", repr=False)
    create_only: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    labels: tuple[str, ...] = field(default=(), repr=False)
    expires_at: datetime | None = None

    def about(self) -> SubjectChanges:
        """What it says of the subject besides the faces; what is empty is not said."""
        about = SubjectChanges()
        if self.display_name:
            about["display_name"] = self.display_name
        if self.metadata:
            about["metadata"] = self.metadata
        if self.labels:
            about["labels"] = self.labels
        if self.expires_at:
            about["expires_at"] = self.expires_at
        return about


@dataclass(frozen=True, slots=True)
class Resemblance:
    """How similar a face is to another one.

    Attributes:
        face_id: the other one.
        codec_id: of the other one.
        similarity: cosine in [-1, 1].
    """

    face_id: str
    codec_id: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well a face goes with the others of its subject.

    Attributes:
        face_id: the face.
        codec_id: of its map.
        others: of a new face, those that its subject had before; where it had none, those that
            came with it.
    """

    face_id: str
    codec_id: str
    others: tuple[Resemblance, ...]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What was enrolled.

    Attributes:
        subject: the subject as it now is.
        faces: the faces that were added, in the order given.
        repeated: whether this repeats the answer to an earlier request of the same id.
        agreements: one for each of the faces; none if the subject has but one.
    """

    subject: Subject
    faces: tuple[Face, ...]
    repeated: bool
    agreements: tuple[Agreement, ...] = ()


@dataclass(frozen=True, slots=True)
class SubjectHit:
    """A subject that resembles the probe.

    Attributes:
        subject_id: who.
        display_name: for people.
        face_id: the face that it matches best.
        codec_id: the codec of that face, which the calibration depends on; of a template, the
            codec among its faces that asks for most.
        similarity: cosine in [-1, 1], by the `SubjectScore` of the collection.
        face_codec_id: the codec of the face itself.
        png: the face's map.
    """

    subject_id: str
    display_name: str = field(repr=False)
    face_id: str
    codec_id: str
    similarity: float
    face_codec_id: str = ""
    png: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class FaceReview:
    """An enrolled face among the others.

    Attributes:
        agreement: with the other faces of its subject, whatever the order they came in.
        others: other subjects, most similar first.
    """

    agreement: Agreement
    others: tuple[SubjectHit, ...]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A map streamed by a camera.

    Attributes:
        sighting_id: made by the sender, a UUID.
        camera_id: which camera, 1 to 128 printable characters.
        codec_id: which decoder the map needs.
        png: the map.
        quality: as asserted by the encoder, in [0, 1]; None: unknown.
        captured_at: when the picture was taken; None: unknown.
    """

    sighting_id: str
    camera_id: str
    codec_id: str
    png: bytes = field(repr=False)
    quality: float | None = None
    captured_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SightingMatch:
    """The subject that a sighting was found to show, and how surely.

    Attributes:
        subject_id: whom; "": the subject was deleted since.
        display_name: as it is now.
        face_id: the face that it matched.
        similarity: cosine in [-1, 1].
        threshold: what the similarity had to reach.
        fmr: false match rate that the threshold stands for; None: not calibrated.
        faces: how many faces were searched.
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
    """What came of identifying a sighting.

    Attributes:
        decision: a name of the recognizer's; "": it could not be identified.
        failure: the reason of the error then.
        match: whom it shows; None: nobody that is known for sure.
    """

    decision: str
    failure: str = ""
    match: SightingMatch | None = None


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A sighting with what the gallery knows of it.

    Attributes:
        key: of the row; rises in the order of arrival.
        collection_id: where it is.
        sighting: as it came.
        received_at: when, UTC.
        finding: whom it shows; None: it was not identified yet.
        position: of the finding, in the order in which they were made; 0: there is none.
    """

    key: int
    collection_id: str
    sighting: Sighting
    received_at: datetime
    finding: SightingFinding | None
    position: int


@dataclass(frozen=True, slots=True)
class SightingFilter:
    """Which sightings are meant: those that pass all of it.

    Attributes:
        since: seen then or later; a sighting was seen when it was captured, or when it was
            received if that is earlier or the other unknown.
        until: seen before.
        camera_id: by which camera; "": by any.
        subject_id: matching whom; "": whomever.
        decisions: with one of these decisions; none: with any, or not identified.
    """

    since: datetime | None = None
    until: datetime | None = None
    camera_id: str = ""
    subject_id: str = ""
    decisions: tuple[str, ...] = ()


class SightingOutcome(StrEnum):
    """What became of a sighting that was offered."""

    STORED = "stored"
    """It survives a crash, until its retention ends."""
    DUPLICATE = "duplicate"
    """The same sighting is there already."""
    DISCARDED = "discarded"
    """The collection keeps no sightings."""


class EmbeddingSpaceChanged(FailedPrecondition):
    """What was embedded in one space came after the gallery had moved to another; embed anew."""

    def __init__(self, *, given: str, served: str) -> None:
        super().__init__(
            "EMBEDDING_SPACE_CHANGED",
            f"embeddings of space {given} came, and the gallery serves space {served} since",
            metadata={"given": given, "served": served},
        )
