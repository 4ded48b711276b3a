"""What the codecs that we compare with have in common."""

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
    """A picture codec with one knob; stateless, so that processes can be sent it.

    Whatever else a codec can be told is set in its favour: the encoder's patience, chroma at half
    resolution where that pays, no metadata.

    Attributes:
        name: as tables print it.
        settings: positions of the knob, from the smallest files to the best pictures.
    """

    name: ClassVar[str]
    settings: ClassVar[Sequence[float]]

    @abstractmethod
    def encode(self, picture: Picture, setting: float) -> list[bytes]:
        """The picture as one file or several, of which the caller keeps the smallest.

        Args:
            picture: (height, width, 3) RGB.
            setting: one of `settings`.
        """

    def decode(self, file: bytes) -> Picture:
        """The picture in a file that `encode` has made."""
        with Image.open(io.BytesIO(file)) as image:
            return np.asarray(image.convert("RGB"))

    @abstractmethod
    def payload_bytes(self, file: bytes) -> int:
        """Bytes of a file that change with the picture.

        The rest could be built into a decoder that never sees anything but crops from one camera:
        signatures, boxes, the picture's size, tables that follow from the setting. Where the
        setting itself is lost with them it counts as one byte.
        """


def save(picture: Picture, file_format: str, **options: Any) -> bytes:
    """The picture as Pillow writes it.

    Args:
        picture: (height, width, 3) RGB.
        file_format: Pillow's name of the format.
        options: Pillow's for this format.
    """
    file = io.BytesIO()
    Image.fromarray(picture).save(file, file_format, **options)
    return file.getvalue()
