"""Resample pictures (H, W, 3) uint8 with Pillow and numpy.

Pixels are areas: a pixel of the result is the mean of the part of the picture that it covers, also
where the picture is enlarged.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_MOST_PER_PIXEL = 2  # pixels along a side that the exact mean takes; beyond, they are halved first


def shrunk(picture: Pixels, *, width: int, height: int) -> Pixels:
    """Resize small parts exactly; the time is that of a matrix product."""
    rows, columns = picture.shape[:2]
    times = min(rows // (_MOST_PER_PIXEL * height), columns // (_MOST_PER_PIXEL * width)) + 1
    if times > 1:
        picture = np.asarray(Image.fromarray(picture).reduce(times))
        rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture
    down = _coverage(rows, height) @ picture.reshape(rows, -1).astype(np.float32)
    across = _coverage(columns, width) @ down.reshape(height, columns, 3)
    return np.rint(across).astype(np.uint8)


def scaled(picture: Pixels, *, width: int, height: int) -> Pixels:
    """Resize whole pictures fast; close to the exact mean."""
    if picture.shape[:2] == (height, width):
        return picture
    how = Image.Resampling.HAMMING if height <= picture.shape[0] else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(picture).resize((width, height), how))


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


@lru_cache(maxsize=256)
def _coverage(before: int, after: int) -> Floats:
    """(after, before): the share of each old pixel in each new one."""
    step = before / after
    start = np.arange(after)[:, np.newaxis] * step
    old = np.arange(before)
    common = np.minimum(start + step, old + 1) - np.maximum(start, old)
    return (np.maximum(common, 0) / step).astype(np.float32)
