"""Photos as they are named on the command line: one that is bad spoils no other."""

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
"""Codes of the whole service: the next photo would fare no better."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that was asked about.

    Attributes:
        path: where it is.
        name: its file's name; of a photo in a folder that was named, with the way from there.
    """

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a photo has no answer.

    Attributes:
        photo: which.
        reason: UPPER_SNAKE_CASE, for programs.
        message: one sentence for people; it names the file.
    """

    photo: Photo
    reason: str
    message: str

    def document(self) -> dict[str, Any]:
        """For programs, in place of an answer."""
        error = {"reason": self.reason, "message": self.message}
        return {"photo": str(self.photo.path), "error": error}


def each_photo(arguments: Iterable[Path]) -> list[Photo]:
    """The files among the arguments, and all files in the folders among them, hidden ones not."""
    photos = []
    for argument in arguments:
        if argument.is_dir():
            photos += list(_in_folder(argument))
        else:
            photos.append(Photo(argument, argument.name))
    if not photos:
        raise typer.BadParameter("there is no file in these folders", param_hint="PHOTO")
    return photos


def encode_each(
    encoder: PhotoEncoder, photos: Sequence[Photo]
) -> Iterator["tuple[Photo, EncodeResponse] | Fault"]:
    """The faces of each photo, in order; a fault is printed on standard error at once.

    Raises:
        RequestFailed: it is not the photo's fault.
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
