"""Training faces, read from the cache that `shared.training.face_cache` writes."""

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SIZE = 112
MARGIN = 8
"""Columns by which a 112x112 face exceeds its 112x96 crop on either side."""
UNLABELLED = "unlabelled"
PIXELS_FILE, NAMES_FILE, TEACHER_FILE = "faces.npy", "names.json", "teacher.npy"
YAW_FILE = "yaw.npy"
# A face is repeated once for each of these yaw angles (degrees) that it exceeds.
_RARER_BEYOND = (20, 27, 33, 40)
IMAGE_SUFFIXES = {".webp", ".jpg", ".jpeg", ".png"}


@dataclass(frozen=True, slots=True)
class Faces:
    """Aligned faces, sorted by name.

    Attributes:
        names: `<identity>/<file>` per face; the identity `unlabelled` means unknown.
        pixels: (N, 112, 112, 3) uint8 RGB.
        teacher: (N, 2, D) float32 unit vectors of the teacher, plain and mirrored.
        yaw: (N,) degrees, see `shared.faces.pose`.
    """

    names: list[str]
    pixels: npt.NDArray[np.uint8]
    teacher: npt.NDArray[np.float32]
    yaw: npt.NDArray[np.float32]

    def identities(self) -> list[str]:
        """The identity of every face, in order."""
        return [name.split("/")[0] for name in self.names]

    def batches(self, rows: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.uint8]]:
        """The pixels of some faces, in order, `size` at a time."""
        for start in range(0, len(rows), size):
            yield self.pixels[rows[start : start + size]]


def image_files(source: Path) -> list[tuple[str, Callable[[], bytes]]]:
    """All images in a folder's zip archives or, if there are none, in its folders.

    Returns:
        Name and reader function of each image, sorted by name.
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


def load_faces(cache: Path) -> Faces:
    """Read what `cache_faces` and `cache_teacher` have written: 38 kB of memory per face.

    The data is read into memory, not mapped: batches are shuffled, and with a page cache under
    pressure every read would become a seek. Yaw is estimated if an older cache lacks it.
    """
    if not (cache / YAW_FILE).exists():
        # Imported here, since training otherwise needs no detector.
        from shared.training.face_cache import cache_yaw  # noqa: PLC0415

        cache_yaw(cache)
    return Faces(
        names=json.loads((cache / NAMES_FILE).read_text()),
        pixels=np.load(cache / PIXELS_FILE),
        teacher=np.load(cache / TEACHER_FILE),
        yaw=np.load(cache / YAW_FILE),
    )


def by_pose(rows: npt.NDArray[np.int64], yaw: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Rows of faces, with turned heads repeated, since photographs show few of them.

    Args:
        rows: rows of faces.
        yaw: degrees of all faces.
    """
    times = 1 + np.digitize(np.abs(yaw[rows]), _RARER_BEYOND)
    return np.repeat(rows, times)


def to_tensor(pixels: Tensor, mirrored: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 in [-1, 1], rows of `mirrored` flipped."""
    batch = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    return torch.where(mirrored[:, None, None, None], batch.flip(3), batch)


def rows_of(array: Tensor, rows: npt.NDArray[np.integer], device: torch.device) -> Tensor:
    """The given rows of an array, on `device`."""
    return array[torch.from_numpy(rows.astype(np.int64)).to(array.device)].to(device)


def to_bytes(batch: Tensor) -> npt.NDArray[np.uint8]:
    """(N, 3, H, W) in [-1, 1] -> (N, H, W, 3) uint8, rounded."""
    levels = ((batch.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()
