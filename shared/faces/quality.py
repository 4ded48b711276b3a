"""Image quality of an aligned crop, without a network."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.faces.align import TEMPLATE
from shared.faces.detect import Landmarks

_FULL_SIZE = float(TEMPLATE[1, 0] - TEMPLATE[0, 0])  # eye distance in a crop, in pixels
_HALF_SHARP = 100.0  # variance of the Laplacian, in squared gray values, that scores one half
_PROFILE = 0.6  # sideways shift of the nose, in eye distances, that scores zero


def quality(crop: NDArray[np.uint8], landmarks: Landmarks | None) -> float:
    """The geometric mean of the scores of size, pose and sharpness, in [0, 1].

    - size: min(1, d / 35.2), where d is the eye distance in the picture; below 35.2 pixels the
      crop is an enlargement.
    - pose: max(0, 1 - |s| / 0.6), where s is the distance of the nose from the eyes' perpendicular
      bisector, in eye distances: 0 for a frontal face, above one half in profile. Roll is ignored,
      since alignment removes it.
    - sharpness: v / (v + 100), where v is the variance of the Laplacian of the crop's luma.

    Args:
        crop: (112, 96, 3) RGB, aligned.
        landmarks: in pixels of the picture that the crop was cut from; None if unknown, in which
            case only sharpness is scored.
    """
    factors = [_sharpness(crop)]
    if landmarks is not None:
        factors += _size_and_pose(landmarks)
    return float(np.prod(factors) ** (1 / len(factors)))


def laplacian(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) RGB -> (H, W) Laplacian of the luma, in grey levels; near 0 where blurred."""
    luma = np.pad(np.asarray(Image.fromarray(picture).convert("L"), np.float32), 1, mode="reflect")
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return around - 4 * luma[1:-1, 1:-1]


def _sharpness(crop: NDArray[np.uint8]) -> float:
    variance = float(laplacian(crop).var())
    return variance / (variance + _HALF_SHARP)


def _size_and_pose(landmarks: Landmarks) -> tuple[float, float]:
    left_eye, right_eye, nose = landmarks.as_array()[:3].astype(np.float64)
    axis = right_eye - left_eye
    distance = float(np.hypot(*axis))
    if distance == 0:
        return 0.0, 0.0
    sideways = abs(float((nose - (left_eye + right_eye) / 2) @ axis)) / distance**2
    return min(1.0, distance / _FULL_SIZE), max(0.0, 1 - sideways / _PROFILE)
