"""LFW's files: an uncompressed zip archive of aligned faces, and the official pairs."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import FailedPrecondition, InvalidImage, InvalidInput
from shared.evaluation.pipeline import BATCH, Faces
from shared.faces.picture import PictureLimits, decode_picture

ARCHIVE = "lfw112/lfw.zip"
PAIRS = "lfw112/pairs.txt"
_SIDE = 112


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images, by name in the archive, and whether they show one person."""

    first: str
    second: str
    same: bool


@dataclass(frozen=True, slots=True)
class LfwFiles:
    """An open archive of images, and the pairs.

    Attributes:
        archive: the zip archive.
        names: all images, `Name/Name_0001.jpg`, sorted.
        folds: the pairs of each fold.
    """

    archive: zipfile.ZipFile
    names: list[str]
    folds: list[list[Pair]]

    def batches(self, names: list[str], *, size: int = BATCH) -> Iterator[Faces]:
        """Read the named images in order, in batches of `size`.

        Raises:
            InvalidImage: an image cannot be read or is not 112x112.
        """
        for start in range(0, len(names), size):
            yield np.stack([self._face(name) for name in names[start : start + size]])

    def _face(self, name: str) -> NDArray[np.uint8]:
        face = decode_picture(self.archive.read(name), PictureLimits())
        height, width = face.shape[:2]
        if (height, width) != (_SIDE, _SIDE):
            raise InvalidImage(
                "FACE_NOT_ALIGNED",
                f"{name} is {width}x{height} pixels; aligned faces are {_SIDE}x{_SIDE}",
            )
        return face


@contextmanager
def open_lfw(data: Path) -> Iterator[LfwFiles]:
    """Open `lfw112/lfw.zip` and `lfw112/pairs.txt` below `data`.

    Raises:
        FailedPrecondition: EVALUATION_DATA_MISSING.
        InvalidInput: INVALID_ARCHIVE or INVALID_PAIRS.
    """
    for name in (ARCHIVE, PAIRS):
        if not (data / name).is_file():
            raise FailedPrecondition(
                "EVALUATION_DATA_MISSING",
                f"{data / name} is missing; set COMPACTFACE_DATA or --data to the folder that "
                f"holds {ARCHIVE} and {PAIRS}",
            )
    folds = parse_pairs((data / PAIRS).read_text(encoding="utf-8"))
    if not zipfile.is_zipfile(data / ARCHIVE):
        raise InvalidInput("INVALID_ARCHIVE", f"{data / ARCHIVE} is not a zip archive")
    with zipfile.ZipFile(data / ARCHIVE) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        _check_presence(folds, set(names))
        yield LfwFiles(archive, names, folds)


def _check_presence(folds: list[list[Pair]], present: set[str]) -> None:
    named = (name for fold in folds for pair in fold for name in (pair.first, pair.second))
    for name in named:
        if name not in present:
            raise InvalidInput("INVALID_PAIRS", f"{PAIRS} names {name}, which {ARCHIVE} lacks")


def parse_pairs(text: str) -> list[list[Pair]]:
    """Parse LFW's pairs.txt into folds.

    The first line holds the number of folds and the number of pairs of either kind per fold. For
    every fold follow genuine pairs as `name n m` and impostor pairs as `name n other m`.

    Raises:
        InvalidInput: INVALID_PAIRS; the text has another format.
    """
    header, *lines = text.splitlines() or [""]
    try:
        folds, of_either_kind = map(int, header.split())
        pairs = [_pair(line.split()) for line in lines]
    except ValueError as error:
        raise InvalidInput("INVALID_PAIRS", f"{PAIRS} is not a list of pairs: {error}") from error
    size = 2 * of_either_kind
    if len(pairs) != folds * size or not pairs:
        raise InvalidInput(
            "INVALID_PAIRS",
            f"{PAIRS} holds {len(pairs)} pairs; its first line promises {folds} folds of {size}",
        )
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def _pair(fields: list[str]) -> Pair:
    match fields:
        case [name, first, second]:
            return Pair(_image(name, first), _image(name, second), same=True)
        case [name, first, other, second]:
            return Pair(_image(name, first), _image(other, second), same=False)
        case _:
            raise ValueError(f"a line of {len(fields)} fields")


def _image(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"
