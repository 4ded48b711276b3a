"""A folder of photos, one folder in it for each subject, as enrollments: each photo on its own."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from command_line.output import disagreement_text
from command_line.photos import PhotoEncoder, encode_one_face
from shared.errors import CompactfaceError

if TYPE_CHECKING:
    from compactface.client import RecognizerClient
    from compactface.v1.gallery_pb2 import BulkEnrollResponse, EnrollRequest

_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True, slots=True)
class SubjectPhoto:
    """A photo, and of whom: the name of its folder."""

    subject_id: str
    path: Path


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
        message: why it was rejected, or what is doubtful about it.
    """

    photo: SubjectPhoto
    outcome: Outcome
    reason: str = ""
    message: str = ""


def find_photos(folder: Path) -> list[SubjectPhoto]:
    """The pictures in the folders of a folder, by subject and name; others are passed over."""
    return [
        SubjectPhoto(subject.name, photo)
        for subject in sorted(folder.iterdir())
        if subject.is_dir() and not subject.name.startswith(".")
        for photo in sorted(subject.iterdir())
        if photo.suffix.lower() in _PICTURES and not photo.name.startswith(".")
    ]


class PhotoImport:
    """Encodes photos while the recognizer enrolls those that came before.

    Repeating it is harmless: the request id of a photo is made of the collection, the subject
    and the file's content, so what a broken import has enrolled is not enrolled again.
    """

    def __init__(
        self,
        encoder: PhotoEncoder,
        client: "RecognizerClient",
        *,
        collection: str,
        largest: bool,
        allow_duplicates: bool,
        done: Callable[[PhotoResult], None],
    ) -> None:
        """Prepare.

        Args:
            encoder: finds and encodes faces.
            client: of the recognizer.
            collection: where to; it must exist.
            largest: of several faces in a photo take the largest, instead of refusing it.
            allow_duplicates: enroll even if another subject looks the same.
            done: is told what became of each photo, from this thread or another.
        """
        self._encoder = encoder
        self._client = client
        self._collection = collection
        self._largest = largest
        self._allow_duplicates = allow_duplicates
        self._done = done

    def run(self, photos: Sequence[SubjectPhoto]) -> None:
        """Enroll them.

        Raises:
            RequestFailed: the recognizer cannot be reached any more, or no such collection.
        """
        self._client.get_collection(self._collection)  # before the first photo is looked at
        sent: list[SubjectPhoto] = []
        for answer in self._client.bulk_enroll(self._enrolments(photos, sent)):
            self._done(_result(sent[answer.index], answer))

    def _enrolments(
        self, photos: Sequence[SubjectPhoto], sent: list[SubjectPhoto]
    ) -> Iterator["EnrollRequest"]:
        """An enrollment for each photo with the one face that it should have."""
        from compactface.client import RequestFailed

        for photo in photos:
            try:
                enrolment = self._enrolment(photo)
            except (CompactfaceError, RequestFailed) as error:
                message = error.message.removeprefix(f"{photo.path}: ")
                self._done(PhotoResult(photo, Outcome.REJECTED, error.reason, message))
            except OSError as error:
                message = error.strerror or str(error)
                self._done(PhotoResult(photo, Outcome.REJECTED, "UNREADABLE_FILE", message))
            else:
                sent.append(photo)
                yield enrolment

    def _enrolment(self, photo: SubjectPhoto) -> "EnrollRequest":
        from compactface.client import enrollment

        face = encode_one_face(self._encoder, photo.path, largest=self._largest)
        face.map.ClearField("capture_time")  # of the encoding: nobody knows the photo's
        return enrollment(
            [face.map],
            subject_id=photo.subject_id,
            collection=self._collection,
            on_duplicate="allow" if self._allow_duplicates else "reject",
            request_id=_request_id(self._collection, photo),
        )


def _request_id(collection: str, photo: SubjectPhoto) -> str:
    digest = hashlib.sha256(f"{collection}\0{photo.subject_id}\0".encode())
    digest.update(photo.path.read_bytes())
    return f"import-{digest.hexdigest()}"


def _result(photo: SubjectPhoto, answer: "BulkEnrollResponse") -> PhotoResult:
    from compactface.client import RequestFailed

    if answer.HasField("error"):
        failure = RequestFailed.from_status(answer.error)
        if failure.reason == "REQUEST_ID_REUSED":  # with other options, or by another model
            return PhotoResult(photo, Outcome.PRESENT)
        return PhotoResult(photo, Outcome.REJECTED, failure.reason, failure.message)
    doubts = ", ".join(map(disagreement_text, answer.response.disagreements))
    repeated = answer.response.repeated_request
    return PhotoResult(photo, Outcome.PRESENT if repeated else Outcome.ENROLLED, message=doubts)
