"""The simplest codec: a thumbnail, enlarged again."""

import numpy as np
from PIL import Image

from shared.codec.png import CHUNK_OVERHEAD, HEADER_BYTES, RGB, SIGNATURE, Geometry, write
from shared.evaluation.conventional.codec import Codec, Picture

_WIDTH, _HEIGHT = 96, 112
_LENGTH_OF_DATA = len(SIGNATURE) + CHUNK_OVERHEAD + HEADER_BYTES


class Thumbnail(Codec):
    """The crop scaled down with a bicubic filter, as RGB PNG, and scaled up again to 112x96.

    The setting is the thumbnail's width in pixels. The PNG writer is that of compact maps, which
    tries PNG's filters and deflate's strategies.
    """

    name = "thumbnail"
    settings = range(2, _WIDTH + 1)

    def encode(self, picture: Picture, setting: float) -> list[bytes]:
        """One PNG file."""
        width, height = int(setting), round(setting * _HEIGHT / _WIDTH)
        small = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
        rows = np.asarray(small).reshape(height, 3 * width)
        return [write(rows, Geometry(width, height, bit_depth=8, color_type=RGB))]

    def decode(self, file: bytes) -> Picture:
        """The thumbnail, enlarged to 112x96."""
        small = Image.fromarray(super().decode(file))
        return np.asarray(small.resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC))

    def payload_bytes(self, file: bytes) -> int:
        """Size of the IDAT chunk's data, plus a byte for the width."""
        return 1 + int.from_bytes(file[_LENGTH_OF_DATA : _LENGTH_OF_DATA + 4], "big")
