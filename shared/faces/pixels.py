"""Convert decoded pictures of any pixel format to RGB, in bands of rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.errors import InvalidImage

Band = Callable[[int, int], Image.Image]
"""Returns the rows of a picture from the first argument up to the second."""

Samples = NDArray[np.integer[Any] | np.floating[Any]]
"""Arrays with 8 or 16 bits per sample."""

_BAND_ROWS = 256
_TRANSPARENT_MODES = {"RGBA", "LA", "PA"}
_DIRECT_MODES = {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"}
_FULL_SCALES = (255, 1023, 4095, 16383, 65535)
"""Largest values of 8, 10, 12, 14 and 16 bits, which cameras store in 16-bit samples."""


def reduced(length: int, reduction: int) -> int:
    """The length of a side at 1/`reduction` of its size, rounded up."""
    return -(-length // reduction)


def rgb_of_image(image: Image.Image, reduction: int) -> NDArray[np.uint8]:
    """Convert a Pillow image to (H, W, 3) uint8 RGB on white, at 1/`reduction` of its size.

    Raises:
        InvalidImage: PIXELS_NOT_SUPPORTED.
    """
    if image.mode.startswith("I;16"):
        return rgb_of_samples(np.asarray(image), reduction)
    transparent = image.mode in _TRANSPARENT_MODES or "transparency" in image.info
    if not transparent and image.mode not in _DIRECT_MODES:
        raise InvalidImage(
            "PIXELS_NOT_SUPPORTED",
            f"pixels of mode {image.mode}; RGB, gray, CMYK and YCbCr of 8 bits and RGB and gray "
            "of 16 bits are accepted",
        )

    def band(top: int, bottom: int) -> Image.Image:
        rows = image.crop((0, top, image.width, bottom))
        return _on_white(rows.convert("RGBA")) if transparent else rows.convert("RGB")

    return _assembled(image.size, reduction, band)


def rgb_of_samples(samples: Samples, reduction: int) -> NDArray[np.uint8]:
    """Convert samples (H, W) or (H, W, 3 or 4), in RGBA order; see `rgb_of_image`.

    16-bit samples are scaled by the number of bits in use: 8, 10, 12, 14 or 16.
    """
    most = 255 if samples.dtype == np.uint8 else _full_scale(int(samples.max()))

    def band(top: int, bottom: int) -> Image.Image:
        rows = samples[top:bottom]
        if most != 255:  # noqa: PLR2004 - the range of a byte
            rows = (rows.astype(np.uint32) * 255 + most // 2) // most
        image = Image.fromarray(rows.astype(np.uint8))
        return _on_white(image) if image.mode == "RGBA" else image.convert("RGB")

    height, width = samples.shape[:2]
    return _assembled((width, height), reduction, band)


def _full_scale(largest: int) -> int:
    return next(most for most in _FULL_SCALES if largest <= most)


def _on_white(rows: Image.Image) -> Image.Image:
    paper = Image.new("RGBA", rows.size, "white")
    return Image.alpha_composite(paper, rows).convert("RGB")


def _assembled(size: tuple[int, int], reduction: int, band: Band) -> NDArray[np.uint8]:
    """Assemble bands, so that conversion never needs memory for the whole picture."""
    width, height = size
    picture = np.empty((reduced(height, reduction), reduced(width, reduction), 3), np.uint8)
    step = _BAND_ROWS * reduction
    for number, top in enumerate(range(0, height, step)):
        rows = band(top, min(top + step, height))
        start = number * _BAND_ROWS
        picture[start : start + _BAND_ROWS] = np.asarray(
            rows.reduce(reduction) if reduction > 1 else rows
        )
    return picture
