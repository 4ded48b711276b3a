"""Estimate the yaw of a head from five landmarks."""

import numpy as np
from numpy.typing import NDArray

# Distance of the nose tip in front of the eye line, in eye distances.
NOSE_DEPTH = 0.6


def yaw_degrees(landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """Estimate yaw from the position of the nose between the eyes.

    The eyes' distance shrinks with the cosine of the yaw, and the nose moves with its sine, so
    their ratio is the tangent times `NOSE_DEPTH`. Beyond 60 degrees landmarks are unreliable.

    Args:
        landmarks: (N, 5, 2), x and y of left eye, right eye, nose and mouth corners.

    Returns:
        (N,) degrees in (-90, 90); positive: the nose points to the right of the picture.
    """
    left, right, nose = landmarks[:, 0], landmarks[:, 1], landmarks[:, 2]
    axis = right - left
    square = np.maximum((axis**2).sum(1), np.finfo(np.float32).tiny)
    offset = ((nose - (left + right) / 2) * axis).sum(1) / square
    degrees: NDArray[np.float32] = np.degrees(np.arctan(offset / NOSE_DEPTH)).astype(np.float32)
    return degrees
