"""Collections and their settings."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypedDict


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

    @property
    def by_template(self) -> bool:
        """Whether subjects are compared by template instead of face by face."""
        return self.subject_score is SubjectScore.MEAN_TEMPLATE

    @property
    def comparisons(self) -> int:
        """The number of comparisons of a search."""
        return self.subject_count if self.by_template else self.face_count
