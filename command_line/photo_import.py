"""Enroll photos of subjects one by one."""

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
    """Result of importing a photo."""

    ENROLLED = "enrolled"
    PRESENT = "enrolled before"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """Result of importing a photo.

    Attributes:
        photo: the photo.
        outcome: whether it was enrolled.
        reason: UPPER_SNAKE_CASE, if it was rejected.
        message: why it was rejected, or a note about it.
        taken: the enrolled face; None if rejected.
        face_id: id of the face in the gallery; "" if rejected or unknown.
    """

    photo: SubjectPhoto
    outcome: Outcome
    reason: str = ""
    message: str = ""
    taken: TakenFace | None = None
    face_id: str = ""


class PhotoImport:
    """Encodes photos while the recognizer enrolls earlier ones.

    It is safe to repeat: the request id of a photo derives from the collection, the subject and
    the file's content, so nothing is enrolled twice. The order does not matter: look-alikes are
    enrolled anyway and found by a review.
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
        """Prepare an import.

        Args:
            encoder: finds and encodes faces.
            client: client of the recognizer.
            collection: target collection; must exist.
            most_prominent: use the most prominent of several faces instead of rejecting the photo.
            done: called with the result of each photo, possibly from another thread.
        """
        self._encoder = encoder
        self._client = client
        self._collection = collection
        self._most_prominent = most_prominent
        self._done = done

    def run(self, photos: Sequence[SubjectPhoto]) -> None:
        """Enroll the photos.

        Raises:
            RequestFailed: the recognizer is unreachable, or the collection does not exist.
        """
        self._client.collections.get(self._collection)  # fail before encoding
        sent: list[tuple[SubjectPhoto, TakenFace]] = []
        for answer in self._client.subjects.bulk_enroll(self._enrollments(photos, sent)):
            self._done(_result(*sent[answer.index], answer))

    def _enrollments(
        self, photos: Sequence[SubjectPhoto], sent: list[tuple[SubjectPhoto, TakenFace]]
    ) -> Iterator["EnrollRequest"]:
        """Yield an enrollment for each photo with a usable face."""
        from compactface.client import RequestFailed

        for photo in photos:
            try:
                taken = take_one_face(
                    self._encoder, photo.path, most_prominent=self._most_prominent
                )
                enrollment = self._enrollment(photo, taken)
            except (CompactfaceError, RequestFailed) as error:
                message = error.message.removeprefix(f"{photo.path}: ")
                self._done(PhotoResult(photo, Outcome.REJECTED, error.reason, message))
            except OSError as error:
                message = error.strerror or str(error)
                self._done(PhotoResult(photo, Outcome.REJECTED, "UNREADABLE_FILE", message))
            else:
                sent.append((photo, taken))
                yield enrollment

    def _enrollment(self, photo: SubjectPhoto, taken: TakenFace) -> "EnrollRequest":
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
        if failure.reason == "REQUEST_ID_REUSED":  # with other options or another model
            return PhotoResult(photo, Outcome.PRESENT, message=taken.note, taken=taken)
        return PhotoResult(photo, Outcome.REJECTED, failure.reason, failure.message)
    outcome = Outcome.PRESENT if answer.response.repeated_request else Outcome.ENROLLED
    (face,) = answer.response.faces
    return PhotoResult(photo, outcome, message=taken.note, taken=taken, face_id=face.face_id)
