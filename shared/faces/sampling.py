"""Resample pictures (H, W, 3) uint8 with Pillow and numpy.

Pixels are areas: a pixel of the result is the mean of the part of the picture that it covers, also
where the picture is enlarged.
"""

import functools
import math
import operator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_GAP = 3.0  # times the final size to which Pillow shrinks by a whole number first
_MOST_PER_PIXEL = 4  # pixels along a side that the exact mean takes; beyond, they are halved first


def shrunk(picture: Pixels, *, width: int, height: int) -> Pixels:
    """Resize small parts exactly."""
    rows, columns = picture.shape[:2]
    times = min(rows // (_MOST_PER_PIXEL * height), columns // (_MOST_PER_PIXEL * width)) + 1
    if times > 1:
        picture = np.asarray(Image.fromarray(picture).reduce(times))
        rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture
    down = _means(picture.reshape(rows, -1).astype(np.float32), height)
    across = _means(down.reshape(height, columns, 3).swapaxes(0, 1), width)
    return np.rint(across.swapaxes(0, 1)).astype(np.uint8)


def scaled(picture: Image.Image, *, width: int, height: int) -> Image.Image:
    """Resize whole pictures fast; close to the exact mean."""
    how = Image.Resampling.HAMMING if height <= picture.height else Image.Resampling.BILINEAR
    return picture.resize((width, height), how, reducing_gap=_GAP)


def warped(picture: Pixels, matrix: NDArray[np.float64], *, width: int, height: int) -> Pixels:
    """Draw a picture through an affine transform, bilinearly; black outside the picture.

    Args:
        picture: (H, W, 3).
        matrix: (2, 3), from points of the picture to points of the result; integers are pixel
            centres.
        width: of the result.
        height: of the result.
    """
    inverse = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]
    # To Pillow, halves are pixel centres.
    inverse[:, 2] += 0.5 - inverse[:, :2] @ (0.5, 0.5)
    drawn = Image.fromarray(picture).transform(
        (width, height),
        Image.Transform.AFFINE,
        tuple(inverse.ravel().tolist()),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(drawn)


def mean_of(picture: Pixels, times: int) -> Pixels:
    """Shrink by a whole number, of which the sides are multiples."""
    return np.asarray(Image.fromarray(picture).reduce(times)) if times > 1 else picture


def _means(rows: Floats, after: int) -> Floats:
    """Weighted means of consecutive rows: (R, ...) -> (after, ...)."""
    places, weights = _coverage(len(rows), after)
    shape = after, *(1,) * (rows.ndim - 1)
    parts = (
        rows[place] * weight.reshape(shape) for place, weight in zip(places, weights, strict=True)
    )
    return functools.reduce(operator.iadd, parts)


@functools.lru_cache(maxsize=256)
def _coverage(before: int, after: int) -> tuple[NDArray[np.intp], Floats]:
    """Which old rows a new one covers, (K, after), and the share of each in it, (K, after)."""
    step = before / after
    start = np.arange(after) * step
    places = start.astype(np.intp) + np.arange(math.ceil(step) + 1)[:, np.newaxis]
    common = np.minimum(start + step, places + 1) - np.maximum(start, places)
    weights = (np.maximum(common, 0) / step).astype(np.float32)
    return np.minimum(places, before - 1), weights
