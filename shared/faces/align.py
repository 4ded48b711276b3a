"""Align a detected face to the 112x96 (height x width) crop that the networks take."""

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidImage
from shared.faces.detect import Landmarks
from shared.faces.sampling import mean_of, shrunk, warped

CROP_HEIGHT = 112
CROP_WIDTH = 96

TEMPLATE = np.array(
    [
        (30.2946, 51.6963),
        (65.5318, 51.5014),
        (48.0252, 71.7366),
        (33.5493, 92.3655),
        (62.7299, 92.2041),
    ],
    np.float32,
)
"""(5, 2): (x, y) of left eye, right eye, nose, left and right mouth corner in a crop.

The template of SphereFace and CosFace; shifted by 8 pixels it is ArcFace's for 112x112.
"""

_PROPORTION_TOLERANCE = 0.01
_MAX_OVERSAMPLING = 16  # faces larger than 16 times the crop are subsampled


def similarity_transform(
    points: NDArray[np.float32], template: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The (2, 3) similarity transform (scale, rotation, shift) from points to a template.

    Umeyama's least-squares estimate ("Least-squares estimation of transformation parameters
    between two point patterns", 1991). With points as complex numbers it is the regression
    t = a p + b, in which a holds scale and rotation; reflections cannot occur.

    Args:
        points: (N, 2), N at least 2.
        template: (N, 2).

    Raises:
        ValueError: all points coincide, or one is not finite.
    """
    if not np.isfinite(points).all():
        raise ValueError("landmarks are not finite")
    p = points.astype(np.float64) @ [1, 1j]
    t = template.astype(np.float64) @ [1, 1j]
    centred = p - p.mean()
    spread = np.vdot(centred, centred).real
    if spread == 0:
        raise ValueError("landmarks coincide")
    a = np.vdot(centred, t - t.mean()) / spread
    b = t.mean() - a * p.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align(
    picture: NDArray[np.uint8],
    landmarks: Landmarks,
    *,
    template: NDArray[np.float32],
    margin: int = 0,
) -> NDArray[np.uint8]:
    """Cut out an upright, aligned face.

    Areas outside the picture are black. Faces larger than the crop are sampled at an integer
    multiple of its size and averaged, to avoid aliasing.

    Args:
        picture: (H, W, 3) RGB.
        landmarks: in pixels of the picture.
        template: (5, 2), target positions in the crop; the detector's `Detector.template`.
        margin: extra columns on either side of the crop; training uses 8.

    Returns:
        (112, 96 + 2 margin, 3) RGB.

    Raises:
        ValueError: the landmarks coincide or are not finite.
    """
    target = template + np.array([margin, 0], np.float32)
    matrix = similarity_transform(landmarks.as_array(), target)
    shrinking = 1 / np.hypot(matrix[0, 0], matrix[1, 0])
    times = int(np.clip(round(shrinking), 1, _MAX_OVERSAMPLING))
    # Integers are pixel centres, so coordinates are scaled relative to pixel edges.
    matrix = matrix * times
    matrix[:, 2] += (times - 1) / 2
    width = CROP_WIDTH + 2 * margin
    drawn = warped(picture, matrix, width=width * times, height=CROP_HEIGHT * times)
    return mean_of(drawn, times)


def fit_crop(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize a picture that is already an aligned face.

    Args:
        picture: (H, W, 3) RGB of at least 112x96, with aspect ratio 7:6 within a pixel or 1 %.

    Returns:
        (112, 96, 3) RGB.

    Raises:
        InvalidImage: CROP_TOO_SMALL or CROP_PROPORTIONS.
    """
    height, width = picture.shape[:2]
    if height < CROP_HEIGHT or width < CROP_WIDTH:
        raise InvalidImage(
            "CROP_TOO_SMALL",
            f"aligned crop is {width}x{height} pixels (width x height); "
            f"at least {CROP_WIDTH}x{CROP_HEIGHT} are needed",
        )
    expected = width * CROP_HEIGHT / CROP_WIDTH
    if abs(height - expected) > max(1, _PROPORTION_TOLERANCE * expected):
        raise InvalidImage(
            "CROP_PROPORTIONS",
            f"aligned crop is {width}x{height} pixels (width x height), {height / width:.3f} "
            f"times as high as wide; {CROP_HEIGHT / CROP_WIDTH:.3f} times is needed",
        )
    return shrunk(picture, width=CROP_WIDTH, height=CROP_HEIGHT)
