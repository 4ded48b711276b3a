"""Interface of the conventional codecs."""

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
"""(height, width, 3) RGB in [0, 255]."""


class Codec(ABC):
    """An image codec with one quality setting; stateless and picklable.

    All other options are set in the codec's favour: highest effort that pays, subsampled chroma
    where it helps, no metadata.

    Attributes:
        name: name in tables.
        settings: quality settings, from smallest files to best images.
    """

    name: ClassVar[str]
    settings: ClassVar[Sequence[float]]

    @abstractmethod
    def encode(self, picture: Picture, setting: float) -> list[bytes]:
        """Encode the image as one or several files, of which the caller keeps the smallest.

        Args:
            picture: (height, width, 3) RGB.
            setting: one of `settings`.
        """

    def decode(self, file: bytes) -> Picture:
        """Decode a file that `encode` has made."""
        with Image.open(io.BytesIO(file)) as image:
            return np.asarray(image.convert("RGB"))

    @abstractmethod
    def payload_bytes(self, file: bytes) -> int:
        """Bytes of a file that depend on the image.

        The rest could be built into a decoder for crops from one camera: signatures, boxes, the
        image size, tables that follow from the setting. A setting that is lost with them counts
        as one byte.
        """


def save(picture: Picture, file_format: str, **options: Any) -> bytes:
    """Encode an image with Pillow.

    Args:
        picture: (height, width, 3) RGB.
        file_format: Pillow's name of the format.
        options: Pillow's options for this format.
    """
    file = io.BytesIO()
    Image.fromarray(picture).save(file, file_format, **options)
    return file.getvalue()
