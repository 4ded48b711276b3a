"""Detect and align the faces of a data set once and cache them."""

import json
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from rich.progress import track

from shared.errors import InvalidImage, InvalidTraining
from shared.faces.align import align
from shared.faces.detect import Detector, DetectorOptions
from shared.faces.detectors import open_detector
from shared.faces.picture import PictureLimits, decode_picture, require_photo_size
from shared.faces.pose import yaw_degrees
from shared.faces.refine import Refiner
from shared.training.faces import MARGIN, NAMES_FILE, PIXELS_FILE, SIZE, YAW_FILE, image_files

_BATCH = 256


def cache_faces(source: Path, cache: Path) -> list[str]:
    """Write every face below `source` to `cache/faces.npy` and `cache/names.json`.

    Images of 112x112 count as aligned. In any other image the most prominent face is detected and
    aligned.

    Args:
        source: a folder of zip archives, or with one folder per identity.
        cache: folder, created if missing.

    Returns:
        Names of the images that were skipped because they are unreadable or show no face.

    Raises:
        InvalidTraining: no image below `source` shows a face.
    """
    cache.mkdir(parents=True, exist_ok=True)
    detector = open_detector(DetectorOptions("mtcnn"))
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
    (cache / YAW_FILE).unlink(missing_ok=True)  # it belongs to earlier faces
    return left_out


def cache_yaw(cache: Path) -> None:
    """Estimate the yaw of every cached face and write it to `cache/yaw.npy`."""
    faces = np.load(cache / PIXELS_FILE, mmap_mode="r")
    refiner = Refiner(threads=1)
    batches = [faces[start : start + _BATCH] for start in range(0, len(faces), _BATCH)]
    yaw = [yaw_degrees(refiner.points_within(batch)) for batch in track(batches, description="yaw")]
    np.save(cache / YAW_FILE, np.concatenate(yaw))


def _aligned(data: bytes, detector: Detector) -> npt.NDArray[np.uint8] | None:
    try:
        picture = decode_picture(data, PictureLimits())
        if picture.shape[:2] == (SIZE, SIZE):
            return picture
        require_photo_size(picture)
    except InvalidImage:
        return None
    found = detector.detect(picture)
    if not found:
        return None
    return align(picture, found[0].landmarks, template=detector.template, margin=MARGIN)


def _write_pixels(raw: BinaryIO, path: Path, *, count: int) -> None:
    """Write an array file of `count` faces, with only one face in memory at a time."""
    shape = (count, SIZE, SIZE, 3)
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    for row in pixels:
        row[:] = np.frombuffer(raw.read(row.size), np.uint8).reshape(row.shape)
    pixels.flush()
