"""Training faces: read once from folders or zip archives, kept as one array on disk."""

import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch import Tensor

from shared.errors import InvalidImage, InvalidTraining
from shared.face.align import align
from shared.face.detect import Detector, MtcnnDetector
from shared.face.picture import PictureLimits, decode_picture, require_photo_size

SIZE = 112
MARGIN = 8
"""Columns that a 112x112 face has on either side of its 112x96 crop."""
UNLABELLED = "unlabelled"
PIXELS_FILE, NAMES_FILE, TEACHER_FILE = "faces.npy", "names.json", "teacher.npy"
IMAGE_SUFFIXES = {".webp", ".jpg", ".jpeg", ".png"}


@dataclass(frozen=True, slots=True)
class Faces:
    """Aligned faces in memory order of their names.

    Attributes:
        names: `<identity>/<file>` per face; identity `unlabelled` stands for nobody.
        pixels: (N, 112, 112, 3) uint8 RGB.
        teacher: (N, 2, D) float32 unit vectors of the teacher, plain and mirrored.
    """

    names: list[str]
    pixels: npt.NDArray[np.uint8]
    teacher: npt.NDArray[np.float32]

    def identities(self) -> list[str]:
        """The identity of every face, in order."""
        return [name.split("/")[0] for name in self.names]


def image_files(source: Path) -> list[tuple[str, Callable[[], bytes]]]:
    """All pictures in a folder's zip archives, or else in its folders, by name.

    Returns:
        Name and a function that reads the file, sorted by name.
    """
    found: list[tuple[str, Callable[[], bytes]]] = []
    for path in sorted(source.glob("*.zip")):
        archive = zipfile.ZipFile(path)
        found += [(name, partial(archive.read, name)) for name in archive.namelist()]
    if not found:
        files = [path for path in source.rglob("*") if path.is_file()]
        found = [(path.relative_to(source).as_posix(), path.read_bytes) for path in files]
    pictures = [entry for entry in found if Path(entry[0]).suffix.lower() in IMAGE_SUFFIXES]
    return sorted(pictures, key=lambda entry: entry[0])


def cache_faces(source: Path, cache: Path) -> list[str]:
    """Decode every face below `source` into `cache/faces.npy` and `cache/names.json`.

    Pictures of 112x112 are taken as aligned; in any other the most prominent face is found and
    aligned.

    Args:
        source: a folder of zip archives, or of one folder per identity.
        cache: created if missing.

    Returns:
        Names of the pictures that were left out, since they cannot be read or show no face.

    Raises:
        InvalidTraining: no picture below `source` shows a face.
    """
    cache.mkdir(parents=True, exist_ok=True)
    detector = MtcnnDetector()
    names, left_out = [], []
    with tempfile.TemporaryFile(dir=cache) as raw:
        for name, read in track(image_files(source), description="faces"):
            face = _aligned(read(), detector)
            if face is None:
                left_out.append(name)
            else:
                names.append(name)
                raw.write(face.tobytes())
        if not names:
            raise InvalidTraining("NO_FACES", f"no picture below {source} shows a face")
        raw.seek(0)
        _write_pixels(raw, cache / PIXELS_FILE, count=len(names))
    (cache / NAMES_FILE).write_text(json.dumps(names))
    return left_out


def _aligned(data: bytes, detector: Detector) -> npt.NDArray[np.uint8] | None:
    try:
        picture = decode_picture(data, PictureLimits())
        if picture.shape[:2] == (SIZE, SIZE):
            return picture
        require_photo_size(picture)
    except InvalidImage:
        return None
    found = detector.detect(picture)
    return align(picture, found[0].landmarks, margin=MARGIN) if found else None


def _write_pixels(raw: BinaryIO, path: Path, *, count: int) -> None:
    """The array file of so many faces, of which only one at a time is in memory."""
    shape = (count, SIZE, SIZE, 3)
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    for row in pixels:
        row[:] = np.frombuffer(raw.read(row.size), np.uint8).reshape(row.shape)
    pixels.flush()


def load_faces(cache: Path) -> Faces:
    """Read what `cache_faces` and `cache_teacher` have written, 38 kB of memory a face.

    Into memory, not mapped: batches are shuffled, and a page cache that other processes
    press on turns each of their reads into a seek.
    """
    return Faces(
        names=json.loads((cache / NAMES_FILE).read_text()),
        pixels=np.load(cache / PIXELS_FILE),
        teacher=np.load(cache / TEACHER_FILE),
    )


def to_tensor(pixels: npt.NDArray[np.uint8], mirrored: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 in [-1, 1], rows of `mirrored` flipped."""
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    return torch.where(mirrored[:, None, None, None], batch.flip(3), batch)


def to_bytes(batch: Tensor) -> npt.NDArray[np.uint8]:
    """(N, 3, H, W) in [-1, 1] -> (N, H, W, 3) uint8, rounded."""
    levels = ((batch.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()
