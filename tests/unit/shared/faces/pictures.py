"""Pictures for the tests that read them, and what becomes of them."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.errors import InvalidImage
from shared.faces.picture import PictureLimits, decode_picture

DATA = Path(__file__).parents[3] / "data"
PHOTO = DATA / "eileen_collins_portrait.jpg"
HEIC = DATA / "collins.heic"
LIMITS = PictureLimits()
FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"]


def scene(width: int = 48, height: int = 32) -> np.ndarray:
    """Red to the left, blue to the right, brighter downwards: nothing about it is symmetric."""
    y, x = np.indices((height, width)) / [[[height - 1]], [[width - 1]]]
    return np.stack([255 * (1 - x), 200 * y, 255 * x], axis=-1).astype(np.uint8)


def saved(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    """A picture as a file; options as of Pillow."""
    file = io.BytesIO()
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture.save(file, kind, **options)
    return file.getvalue()


def refusal(data: bytes, limits: PictureLimits = LIMITS) -> InvalidImage:
    """Why a file is refused."""
    with pytest.raises(InvalidImage) as caught:
        decode_picture(data, limits)
    return caught.value


def difference(picture: np.ndarray, expected: np.ndarray) -> float:
    """The mean difference of two pictures of one shape."""
    assert picture.dtype == np.uint8
    assert picture.shape == expected.shape
    return float(np.abs(picture.astype(int) - expected).mean())


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    checked = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + checked
