"""What is wrong with a face for sure, from its picture; a map tells less of it."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.faces.align import CROP_HEIGHT, CROP_WIDTH, similarity_transform
from shared.faces.detect import Landmarks
from shared.faces.quality import laplacian

CUT_FROM = 0.25
"""Share of a crop outside the picture from which on no match should be made.

Faces cut off at one side cause false matches.
"""
DARK_BELOW = 24.0
"""Mean luma of a face, of 255, below which no match should be made.

So few levels are left of it that strangers look alike.
"""
BLURRED_BELOW = 2.0
"""Mean absolute Laplacian of a face, in grey levels, below which no match should be made.

About a dozen pixels across are left of it. Rounding alone gives 1, sharp faces give 4 and more.
"""
UNFIT_QUALITY = 0.1
"""The highest quality of a face that should not be matched."""

_FACE = slice(28, 100), slice(16, 80)  # rows and columns from the brow to the chin
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def sure_flaws(crop: NDArray[np.uint8], *, outside: float = 0) -> dict[str, float]:
    """How far a face is spoilt, in [0, 1], by part as in the protocol's `Flaws`.

    Args:
        crop: (112, 96, 3) RGB, aligned.
        outside: share of the crop outside the picture, in [0, 1].
    """
    face = crop[_FACE]
    return {
        "outside": min(1.0, outside / CUT_FROM),
        "dark": _short_of(DARK_BELOW, float((face @ _LUMA).mean())),
        "blur": _short_of(BLURRED_BELOW, float(np.abs(laplacian(face)).mean())),
    }


def is_unfit(flaws: Mapping[str, float]) -> bool:
    """Whether a face with these sure flaws should not be matched."""
    return max(flaws.values()) >= 1


def _short_of(limit: float, value: float) -> float:
    """1 up to the limit, 0 from twice the limit on."""
    return min(1.0, max(0.0, 2 - value / limit))


def outside_share(
    height: int, width: int, landmarks: Landmarks, *, template: NDArray[np.float32]
) -> float:
    """The share of a crop, in [0, 1], that lies beyond the edges of its picture.

    Args:
        height: rows of the picture.
        width: columns of it.
        landmarks: as of `shared.faces.align.align`.
        template: likewise.
    """
    matrix = similarity_transform(landmarks.as_array(), template)
    inverse = np.linalg.inv(matrix[:, :2])
    rows, columns = np.mgrid[:CROP_HEIGHT, :CROP_WIDTH]
    # Whole numbers are centres of pixels.
    x, y = inverse @ (np.stack([columns.ravel(), rows.ravel()]) - matrix[:, 2:]) + 0.5
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return float(1 - inside.mean())
