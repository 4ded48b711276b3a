"""Domain types of the gallery: frozen values without SQL or gRPC.

Names, maps and embeddings are left out of every ``repr``, so that they cannot get into a log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from shared.errors import FailedPrecondition

Embedding = NDArray[np.float32]
"""The embedding of one face: (D,) float32 of length 1, D being the dimension of its space."""


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
        expires_at: when it is deleted, by its own expiry or its collection's; None for never.
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
        stranger: the stranger whose faces these are; 0: none.
    """

    faces: tuple[NewFace, ...]
    subject_id: str | None = None
    display_name: str = field(default="", repr=False)
    create_only: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    labels: tuple[str, ...] = field(default=(), repr=False)
    expires_at: datetime | None = None
    stranger: int = 0

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
        others: for a new face, the subject's earlier faces, or else the other new faces.
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


class EmbeddingSpaceChanged(FailedPrecondition):
    """The gallery has changed over to another space than that of the embeddings; embed again."""

    def __init__(self, *, given: str, served: str) -> None:
        super().__init__(
            "EMBEDDING_SPACE_CHANGED",
            f"embeddings of space {given} came, and the gallery serves space {served} since",
            metadata={"given": given, "served": served},
        )


class SubjectScore(StrEnum):
    """How a subject is scored against a probe."""

    BEST_FACE = "best_face"
    """The similarity of its most similar face."""
    MEAN_TEMPLATE = "mean_template"
    """The similarity of the mean of its embeddings, normalized to unit length."""


class CollectionSettings(TypedDict, total=False):
    """The settings of a `Collection`, which can be changed later."""

    max_fpir: float
    max_fmr: float
    sighting_retention_s: int
    max_subjects: int
    max_faces: int
    subject_retention_s: int
    subject_score: SubjectScore
    max_stranger_fpir: float
    min_liveness: float


@dataclass(frozen=True, slots=True)
class Collection:
    """An isolated gallery with its defaults.

    Attributes:
        collection_id: 1 to 64 of ``a-z0-9_-``, the first a letter or digit.
        max_fpir: default threshold of 1:N, a false positive identification rate in (0, 1).
        max_fmr: default threshold of 1:1, a false match rate in (0, 1).
        sighting_retention_s: retention of streamed maps in seconds; 0 keeps none.
        created_at: when it was created, UTC.
        subject_count: number of subjects.
        face_count: number of faces.
        max_subjects: maximum number of subjects; 0 for no limit.
        max_faces: maximum number of faces; 0 for no limit.
        subject_retention_s: time from a subject's creation to its deletion in seconds, unless the
            subject has its own expiry; 0 for never.
        subject_score: how a subject is scored.
        max_stranger_fpir: rate of unknown sightings that join a wrong stranger; 0: not grouped.
        min_liveness: minimum of the liveness claimed for faces, in [0, 1]; 0: not required.
    """

    collection_id: str
    max_fpir: float
    max_fmr: float
    sighting_retention_s: int
    created_at: datetime
    subject_count: int
    face_count: int
    max_subjects: int
    max_faces: int
    subject_retention_s: int
    subject_score: SubjectScore
    max_stranger_fpir: float
    min_liveness: float

    @property
    def by_template(self) -> bool:
        """Whether subjects are compared by template instead of face by face."""
        return self.subject_score is SubjectScore.MEAN_TEMPLATE

    @property
    def comparisons(self) -> int:
        """The number of comparisons of a search."""
        return self.subject_count if self.by_template else self.face_count
