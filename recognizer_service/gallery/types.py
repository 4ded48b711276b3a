"""Domain types of the gallery: frozen values without SQL or gRPC.

Names, maps and embeddings are left out of every ``repr``, so that they cannot get into a log.
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
"""The embedding of one face: (D,) float32 of length 1, D being the dimension of its space."""

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True)
class Page(Generic[RecordT]):
    """One page of a listing.

    Attributes:
        items: at most the requested number, in a stable order.
        next_page_token: token of the next page; "" if this is the last.
    """

    items: tuple[RecordT, ...]
    next_page_token: str


class SubjectChanges(TypedDict, total=False):
    """The changeable fields of a `Subject`; `expires_at` None means the collection's retention."""

    display_name: str
    metadata: Mapping[str, str]
    labels: Sequence[str]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Subject:
    """An enrolled person.

    Attributes:
        subject_id: unique in the collection, 1 to 128 printable characters.
        display_name: readable name, at most 256 characters.
        created_at: when first enrolled, UTC.
        face_count: number of faces.
        metadata: the caller's key-value pairs, at most 32.
        labels: labels for filtering, sorted, at most 32.
        expires_at: when it is deleted, by its own expiry or its collection's retention; None for
            never.
        revision: incremented with every change of name, metadata, labels and expiry; starts at 1.
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
    """A filter of subjects; all conditions must hold.

    Attributes:
        id_prefix: prefix of the id.
        name_contains: part of the display name, ignoring case and compatibility variants.
        labels: the subject must have all of them.
    """

    id_prefix: str = ""
    name_contains: str = field(default="", repr=False)
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Face:
    """One enrolled map of a subject.

    Attributes:
        face_id: created by the gallery, unique in the whole gallery.
        subject_id: the subject.
        codec_id: which decoder the map needs.
        png: the map.
        quality: as claimed at enrollment, in [0, 1]; None if unknown.
        captured_at: when the camera took the picture; None if unknown.
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
    """A face to enroll: attributes as in `Face`, and its embedding in the gallery's space."""

    codec_id: str
    png: bytes = field(repr=False)
    embedding: Embedding = field(repr=False, compare=False)
    quality: float | None = None
    captured_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """An enrollment: a subject and the faces to add.

    Attributes:
        faces: the faces to add, at least one.
        subject_id: a new or existing subject; None: the gallery creates an id.
        display_name: readable name; "" keeps the name of an existing subject.
        create_only: refuse if the subject exists.
        metadata: as in `Subject`; empty keeps that of an existing subject.
        labels: as in `Subject`; empty keeps those of an existing subject.
        expires_at: when to delete the subject; None keeps that of an existing subject.
    """

    faces: tuple[NewFace, ...]
    subject_id: str | None = None
    display_name: str = field(default="", repr=False)
    create_only: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    labels: tuple[str, ...] = field(default=(), repr=False)
    expires_at: datetime | None = None

    def about(self) -> SubjectChanges:
        """Return the subject's data without its faces; empty fields are omitted."""
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
    """The similarity of a face to another one.

    Attributes:
        face_id: the other face.
        codec_id: codec of the other face.
        similarity: cosine in [-1, 1].
    """

    face_id: str
    codec_id: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """The similarities of a face to the others of its subject.

    Attributes:
        face_id: the face.
        codec_id: codec of its map.
        others: for a new face, the subject's earlier faces, or if there are none, the other new
            faces.
    """

    face_id: str
    codec_id: str
    others: tuple[Resemblance, ...]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The result of an enrollment.

    Attributes:
        subject: the subject as it is now.
        faces: the added faces, in the order given.
        repeated: whether this repeats the answer to an earlier request with the same id.
        agreements: one per face; empty if the subject has only one.
    """

    subject: Subject
    faces: tuple[Face, ...]
    repeated: bool
    agreements: tuple[Agreement, ...] = ()


@dataclass(frozen=True, slots=True)
class SubjectHit:
    """A subject similar to the probe.

    Attributes:
        subject_id: the subject.
        display_name: readable name.
        face_id: its best matching face.
        codec_id: the codec that determines the threshold: that of the face, or for a template the
            codec with the highest threshold among its faces.
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
    """An enrolled face compared with others.

    Attributes:
        agreement: with the other faces of its subject, regardless of their order.
        others: other subjects, most similar first.
    """

    agreement: Agreement
    others: tuple[SubjectHit, ...]


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
    """

    key: int
    collection_id: str
    sighting: Sighting
    received_at: datetime
    finding: SightingFinding | None
    position: int


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
    """

    since: datetime | None = None
    until: datetime | None = None
    camera_id: str = ""
    subject_id: str = ""
    decisions: tuple[str, ...] = ()


class SightingOutcome(StrEnum):
    """The outcome of storing a sighting."""

    STORED = "stored"
    """Stored durably until its retention ends."""
    DUPLICATE = "duplicate"
    """The same sighting is already stored."""
    DISCARDED = "discarded"
    """The collection keeps no sightings."""


class EmbeddingSpaceChanged(FailedPrecondition):
    """The gallery has changed over to another space than that of the embeddings; embed again."""

    def __init__(self, *, given: str, served: str) -> None:
        super().__init__(
            "EMBEDDING_SPACE_CHANGED",
            f"embeddings of space {given} came, and the gallery serves space {served} since",
            metadata={"given": given, "served": served},
        )
