"""Photos of subjects as enrollments: each photo on its own."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from command_line.photo_folder import SubjectPhoto
from command_line.photos import PhotoEncoder, TakenFace, read_photo, take_one_face
from shared.errors import CompactfaceError

if TYPE_CHECKING:
    from compactface.client import RecognizerClient
    from compactface.v1.gallery_pb2 import BulkEnrollResponse, EnrollRequest


class Outcome(Enum):
    """What became of a photo."""

    ENROLLED = "enrolled"
    PRESENT = "enrolled before"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """What became of a photo.

    Attributes:
        photo: which.
        outcome: what.
        reason: UPPER_SNAKE_CASE, where it was rejected.
        message: why it was rejected, or what a person should know about it.
        taken: the face that was enrolled; None: rejected.
        face_id: of that face in the gallery; "": rejected, or the gallery does not tell.
    """

    photo: SubjectPhoto
    outcome: Outcome
    reason: str = ""
    message: str = ""
    taken: TakenFace | None = None
    face_id: str = ""


class PhotoImport:
    """Encodes photos while the recognizer enrolls those that came before.

    Repeating it is harmless: the request id of a photo is made of the collection, the subject
    and the file's content, so what a broken import has enrolled is not enrolled again. Nor does
    the order matter: who looks like somebody else is enrolled all the same, and found by a review.
    """

    def __init__(
        self,
        encoder: PhotoEncoder,
        client: "RecognizerClient",
        *,
        collection: str,
        most_prominent: bool,
        done: Callable[[PhotoResult], None],
    ) -> None:
        """Prepare.

        Args:
            encoder: finds and encodes faces.
            client: of the recognizer.
            collection: where to; it must exist.
            most_prominent: of several faces in a photo take that one, instead of refusing it.
            done: called with the result of each photo, from this thread or another.
        """
        self._encoder = encoder
        self._client = client
        self._collection = collection
        self._most_prominent = most_prominent
        self._done = done

    def run(self, photos: Sequence[SubjectPhoto]) -> None:
        """Enroll them.

        Raises:
            RequestFailed: the recognizer cannot be reached any more, or no such collection.
        """
        self._client.collections.get(self._collection)  # before the first photo is looked at
        sent: list[tuple[SubjectPhoto, TakenFace]] = []
        for answer in self._client.subjects.bulk_enroll(self._enrolments(photos, sent)):
            self._done(_result(*sent[answer.index], answer))

    def _enrolments(
        self, photos: Sequence[SubjectPhoto], sent: list[tuple[SubjectPhoto, TakenFace]]
    ) -> Iterator["EnrollRequest"]:
        """An enrollment for each photo with the one face that it should have."""
        from compactface.client import RequestFailed

        for photo in photos:
            try:
                taken = take_one_face(
                    self._encoder, photo.path, most_prominent=self._most_prominent
                )
                enrolment = self._enrolment(photo, taken)
            except (CompactfaceError, RequestFailed) as error:
                message = error.message.removeprefix(f"{photo.path}: ")
                self._done(PhotoResult(photo, Outcome.REJECTED, error.reason, message))
            except OSError as error:
                message = error.strerror or str(error)
                self._done(PhotoResult(photo, Outcome.REJECTED, "UNREADABLE_FILE", message))
            else:
                sent.append((photo, taken))
                yield enrolment

    def _enrolment(self, photo: SubjectPhoto, taken: TakenFace) -> "EnrollRequest":
        from compactface.client import enrollment

        return enrollment(
            [taken.face.map],
            subject_id=photo.subject_id,
            collection=self._collection,
            on_duplicate="allow",
            request_id=_request_id(self._collection, photo),
        )


def _request_id(collection: str, photo: SubjectPhoto) -> str:
    digest = hashlib.sha256(f"{collection}\0{photo.subject_id}\0".encode())
    digest.update(read_photo(photo.path))
    return f"import-{digest.hexdigest()}"


def _result(photo: SubjectPhoto, taken: TakenFace, answer: "BulkEnrollResponse") -> PhotoResult:
    from compactface.client import RequestFailed

    if answer.HasField("error"):
        failure = RequestFailed.from_status(answer.error)
        if failure.reason == "REQUEST_ID_REUSED":  # with other options, or by another model
            return PhotoResult(photo, Outcome.PRESENT, message=taken.note, taken=taken)
        return PhotoResult(photo, Outcome.REJECTED, failure.reason, failure.message)
    outcome = Outcome.PRESENT if answer.response.repeated_request else Outcome.ENROLLED
    (face,) = answer.response.faces
    return PhotoResult(photo, outcome, message=taken.note, taken=taken, face_id=face.face_id)
