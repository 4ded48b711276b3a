"""Photos named on the command line; a bad one does not stop the others."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from command_line.photos import PhotoEncoder, encode_photo
from shared.errors import CompactfaceError

if TYPE_CHECKING:
    from compactface.v1.encoder_pb2 import EncodeResponse

_NOT_OF_THE_PHOTO = {"UNAVAILABLE", "UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"}
"""Status codes of the service as a whole, for which the next photo would fail, too."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo named on the command line.

    Attributes:
        path: path of the file.
        name: file name; for files in a named folder, the path relative to it.
    """

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a photo could not be processed.

    Attributes:
        photo: the photo.
        reason: UPPER_SNAKE_CASE, for programs.
        message: one sentence for people, with the file name.
    """

    photo: Photo
    reason: str
    message: str

    def document(self) -> dict[str, Any]:
        """JSON form, in place of a result."""
        error = {"reason": self.reason, "message": self.message}
        return {"photo": str(self.photo.path), "error": error}


def each_photo(arguments: Iterable[Path]) -> list[Photo]:
    """The files among the arguments, and the visible files in the folders among them."""
    photos = []
    for argument in arguments:
        if argument.is_dir():
            photos += list(_in_folder(argument))
        else:
            photos.append(Photo(argument, argument.name))
    if not photos:
        raise typer.BadParameter("these folders contain no files", param_hint="PHOTO")
    return photos


def encode_each(
    encoder: PhotoEncoder, photos: Sequence[Photo]
) -> Iterator["tuple[Photo, EncodeResponse] | Fault"]:
    """Encode each photo, in order; faults are also printed on standard error.

    Raises:
        RequestFailed: the failure is not specific to a photo.
    """
    from compactface.client import RequestFailed

    for photo in photos:
        try:
            yield photo, encode_photo(encoder, photo.path)
        except RequestFailed as error:
            if error.code in _NOT_OF_THE_PHOTO:
                raise
            yield _report(Fault(photo, error.reason, error.message))
        except CompactfaceError as error:
            yield _report(Fault(photo, error.reason, error.message))
        except OSError as error:
            message = f"{photo.path}: {error.strerror or error}"
            yield _report(Fault(photo, "UNREADABLE_FILE", message))


def _in_folder(folder: Path) -> Iterator[Photo]:
    for path in sorted(folder.rglob("*")):
        way = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in way.parts):
            yield Photo(path, str(folder.resolve().name / way))


def _report(fault: Fault) -> Fault:
    typer.echo(f"{fault.reason}: {fault.message}", err=True)
    return fault
