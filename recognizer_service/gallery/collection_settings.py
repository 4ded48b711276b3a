"""A collection as the gallery gives it, and what can be set of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypedDict


class SubjectScore(StrEnum):
    """How similar a subject is to a probe."""

    BEST_FACE = "best_face"
    """As the most similar of its faces."""
    MEAN_TEMPLATE = "mean_template"
    """As the mean of its faces' embeddings, brought to unit length."""


class CollectionSettings(TypedDict, total=False):
    """What can be set of a `Collection`, and changed later."""

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
        sighting_retention_s: how long streamed maps are kept, in seconds; 0: not at all.
        created_at: when it was created, UTC.
        subject_count: subjects enrolled.
        face_count: faces enrolled.
        max_subjects: most subjects it may hold; 0: no limit.
        max_faces: most faces it may hold; 0: no limit.
        subject_retention_s: how long after its creation a subject is deleted, in seconds,
            unless it has an expiry of its own; 0: never.
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
        """Whether a subject is compared once, and not face by face."""
        return self.subject_score is SubjectScore.MEAN_TEMPLATE

    @property
    def comparisons(self) -> int:
        """How many comparisons a search of it is the best of."""
        return self.subject_count if self.by_template else self.face_count
