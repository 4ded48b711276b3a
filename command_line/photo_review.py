"""What is doubtful about imported photos, as pairs of faces."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from command_line.photo_import import PhotoResult
from command_line.photos import TakenFace

if TYPE_CHECKING:
    from compactface.client import RecognizerClient
    from compactface.v1.gallery_pb2 import Doubt


@dataclass(frozen=True, slots=True)
class ReviewedFace:
    """One face of a doubtful pair.

    Attributes:
        subject_id: whose it is said to be.
        face_id: in the gallery.
        taken: where it is from; None: from no photo of this import.
    """

    subject_id: str
    face_id: str
    taken: TakenFace | None

    def text(self, folder: Path) -> str:
        """Which face, for people."""
        if self.taken is None:
            return f"{self.subject_id}, face {self.face_id[:8]} enrolled before"
        return str(self.taken.photo.relative_to(folder))


@dataclass(frozen=True, slots=True)
class DoubtfulPair:
    """Two faces that do not go with what is said of them.

    Attributes:
        first: one of them.
        second: the other.
        alike: whether two subjects look alike; else one subject's faces do not.
        similarity: cosine of the two in [-1, 1].
        threshold: what is reached, or not.
    """

    first: ReviewedFace
    second: ReviewedFace
    alike: bool
    similarity: float
    threshold: float

    @property
    def reason(self) -> str:
        """UPPER_SNAKE_CASE."""
        return "LOOKS_LIKE_ANOTHER" if self.alike else "UNLIKE_ITS_OWN"


def doubtful_pairs(
    client: "RecognizerClient", results: Sequence[PhotoResult], *, collection: str
) -> list[DoubtfulPair]:
    """The doubts about the subjects of an import, each pair once, the most doubtful first.

    Args:
        client: of the recognizer.
        results: of all photos.
        collection: where they were enrolled.
    """
    from compactface.client import RequestFailed

    taken = {one.face_id: one.taken for one in results if one.face_id}
    pairs: dict[frozenset[str], DoubtfulPair] = {}
    for subject in sorted({result.photo.subject_id for result in results if result.taken}):
        try:
            doubts = client.subjects.review(subject, collection=collection).doubts
        except RequestFailed as error:
            if error.reason != "SUBJECT_NOT_FOUND":  # deleted since it was enrolled
                raise
            continue
        for doubt in doubts:
            pair = _pair(subject, doubt, taken)
            pairs.setdefault(frozenset((doubt.face_id, doubt.other_face_id)), pair)
    return sorted(pairs.values(), key=_clearest_first)


def _pair(subject: str, doubt: "Doubt", taken: dict[str, TakenFace | None]) -> DoubtfulPair:
    other = doubt.other_subject_id or subject
    first, second = sorted(
        (
            ReviewedFace(subject, doubt.face_id, taken.get(doubt.face_id)),
            ReviewedFace(other, doubt.other_face_id, taken.get(doubt.other_face_id)),
        ),
        key=_place,
    )
    alike = bool(doubt.other_subject_id)
    return DoubtfulPair(first, second, alike, doubt.similarity, doubt.threshold)


def _place(face: ReviewedFace) -> tuple[str, str]:
    """What does not change when a gallery is filled again, as ids of faces do."""
    return face.subject_id, str(face.taken.photo) if face.taken else ""


def _clearest_first(pair: DoubtfulPair) -> tuple[float, tuple[str, str], tuple[str, str]]:
    beyond = abs(pair.similarity - pair.threshold)
    return -beyond, _place(pair.first), _place(pair.second)


def rows(pairs: Iterable[DoubtfulPair], folder: Path) -> list[list[str]]:
    """The pairs as rows of a table."""
    return [
        [
            pair.first.text(folder),
            pair.reason,
            pair.second.text(folder),
            f"{pair.similarity:.3f}",
            f"{pair.threshold:.3f}",
        ]
        for pair in pairs
    ]
