"""Training faces: read once from folders or zip archives, kept as one array on disk."""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

SIZE = 112
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


def _members(source: Path) -> Iterator[tuple[str, bytes]]:
    archives = sorted(source.glob("*.zip"))
    for archive in archives:
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if Path(info.filename).suffix.lower() in IMAGE_SUFFIXES:
                    yield info.filename, opened.read(info)
    if not archives:
        for path in sorted(source.glob("*/*")):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                yield f"{path.parent.name}/{path.name}", path.read_bytes()


def cache_faces(source: Path, cache: Path) -> None:
    """Decode every face below `source` into `cache/faces.npy` and `cache/names.json`.

    Args:
        source: a folder of zip archives, or of one folder per identity; 112x112 faces.
        cache: created if missing.

    Raises:
        ValueError: an image is not 112x112.
    """
    cache.mkdir(parents=True, exist_ok=True)
    found = sorted(_members(source))
    pixels = np.lib.format.open_memmap(
        cache / PIXELS_FILE, "w+", np.uint8, (len(found), SIZE, SIZE, 3)
    )
    for row, (name, data) in enumerate(found):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        if image.size != (SIZE, SIZE):
            raise ValueError(f"{name} is {image.size}; aligned faces are {SIZE}x{SIZE}")
        pixels[row] = np.asarray(image)
    pixels.flush()
    (cache / NAMES_FILE).write_text(json.dumps([name for name, _ in found]))


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
