"""Review imported photos: find pairs of faces with doubtful identity."""

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
        subject_id: the subject it is enrolled as.
        face_id: id in the gallery.
        taken: its photo; None if it is not from this import.
    """

    subject_id: str
    face_id: str
    taken: TakenFace | None

    def text(self, folder: Path) -> str:
        """Description of the face for people."""
        if self.taken is None:
            return f"{self.subject_id}, face {self.face_id[:8]} enrolled before"
        return str(self.taken.photo.relative_to(folder))


@dataclass(frozen=True, slots=True)
class DoubtfulPair:
    """Two faces whose similarity contradicts their subject ids.

    Attributes:
        first: one face.
        second: the other face.
        alike: True if two subjects look alike, False if one subject's faces do not.
        similarity: cosine of the two in [-1, 1].
        threshold: the threshold that is reached (alike) or missed.
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
    """Doubtful pairs of an import's subjects, each once, most doubtful first.

    Args:
        client: client of the recognizer.
        results: results of all photos.
        collection: collection of the import.
    """
    from compactface.client import RequestFailed

    taken = {one.face_id: one.taken for one in results if one.face_id}
    pairs: dict[frozenset[str], DoubtfulPair] = {}
    for subject in sorted({result.photo.subject_id for result in results if result.taken}):
        try:
            doubts = client.subjects.review(subject, collection=collection).doubts
        except RequestFailed as error:
            if error.reason != "SUBJECT_NOT_FOUND":  # deleted in the meantime
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
    """A sort key that is stable across imports, unlike face ids."""
    return face.subject_id, str(face.taken.photo) if face.taken else ""


def _clearest_first(pair: DoubtfulPair) -> tuple[float, tuple[str, str], tuple[str, str]]:
    beyond = abs(pair.similarity - pair.threshold)
    return -beyond, _place(pair.first), _place(pair.second)


def rows(pairs: Iterable[DoubtfulPair], folder: Path) -> list[list[str]]:
    """The pairs as table rows."""
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
