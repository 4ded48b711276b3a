"""How much a crop can be trusted, before any network has seen it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.faces.align import TEMPLATE
from shared.faces.detect import Landmarks

_FULL_SIZE = float(TEMPLATE[1, 0] - TEMPLATE[0, 0])  # pixels between the eyes of a crop
_HALF_SHARP = 100.0  # variance of the Laplacian, in squared gray values, that scores one half
_PROFILE = 0.6  # sideways shift of the nose, in eye distances, of a face that scores nothing


def quality(crop: NDArray[np.uint8], landmarks: Landmarks | None) -> float:
    """The geometric mean of what is known of size, pose and sharpness, in [0, 1].

    - size: min(1, d / 35.2), d the distance of the eyes in the picture: below 35.2 pixels the
      crop was enlarged and has fewer details than pixels.
    - pose: max(0, 1 - |s| / 0.6), s how far the nose lies from the eyes' perpendicular
      bisector, in eye distances: 0 seen from the front, above one half in profile. Roll does not
      count, as alignment undoes it.
    - sharpness: v / (v + 100), v the variance of the Laplacian of the crop's luma.

    Args:
        crop: (112, 96, 3) RGB, aligned.
        landmarks: in pixels of the picture that the crop was cut from; None if nobody knows,
            and then sharpness alone counts.
    """
    factors = [_sharpness(crop)]
    if landmarks is not None:
        factors += _size_and_pose(landmarks)
    return float(np.prod(factors) ** (1 / len(factors)))


def _sharpness(crop: NDArray[np.uint8]) -> float:
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    variance = float(cv2.Laplacian(luma, cv2.CV_32F).var())
    return variance / (variance + _HALF_SHARP)


def _size_and_pose(landmarks: Landmarks) -> tuple[float, float]:
    left_eye, right_eye, nose = landmarks.as_array()[:3].astype(np.float64)
    axis = right_eye - left_eye
    distance = float(np.hypot(*axis))
    if distance == 0:
        return 0.0, 0.0
    sideways = abs(float((nose - (left_eye + right_eye) / 2) @ axis)) / distance**2
    return min(1.0, distance / _FULL_SIZE), max(0.0, 1 - sideways / _PROFILE)
