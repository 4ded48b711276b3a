"""Conversion between crop pixels and network tensors."""

import numpy as np
from numpy.typing import NDArray

from shared.model_directory import InputNormalisation


def to_network(crops: NDArray[np.uint8], normalisation: InputNormalisation) -> NDArray[np.float32]:
    """(N, 112, 96, 3) RGB in [0, 255] -> (N, 3, 112, 96) in [-1, 1]."""
    scaled = crops.astype(np.float32) / np.float32(normalisation.divisor)
    scaled += np.float32(normalisation.offset)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def to_pixels(output: NDArray[np.float32], normalisation: InputNormalisation) -> NDArray[np.uint8]:
    """(N, 3, 112, 96), nominally in [-1, 1], clipped -> (N, 112, 96, 3) RGB in [0, 255]."""
    pixels = (output - np.float32(normalisation.offset)) * np.float32(normalisation.divisor)
    rounded = np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)
    return np.ascontiguousarray(rounded.transpose(0, 2, 3, 1))
