"""JPEG (ITU-T T.81), written by libjpeg-turbo."""

import re
from collections.abc import Iterator
from functools import cache

import numpy as np

from shared.evaluation.conventional.codec import Codec, Picture, save

_END_OF_IMAGE = 0xD9
_HUFFMAN_TABLES = 0xC4
_START_OF_SCAN = 0xDA
# Within a scan, 0xFF precedes a stuffed zero or a restart marker; anything else ends the scan.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7]")


class Jpeg(Codec):
    """4:2:0 chroma; the smallest of optimised, progressive and standard Huffman tables."""

    name = "JPEG"
    settings = range(1, 101)

    def encode(self, picture: Picture, setting: float) -> list[bytes]:
        """Three files of the same pixels.

        At a few hundred bytes, optimised tables give the smallest file even though they take a
        hundred bytes, and standard tables give the smallest payload.
        """
        return [
            _save(picture, setting, optimize=True),
            _save(picture, setting, optimize=True, progressive=True),
            _save(picture, setting),
        ]

    def payload_bytes(self, file: bytes) -> int:
        """The scans, Huffman tables other than the standard ones, and a byte for the quality."""
        return 1 + sum(
            len(content)
            for marker, content in _parts(file)
            if marker is None
            or (marker == _HUFFMAN_TABLES and content not in _standard_huffman_tables())
        )


def _save(picture: Picture, quality: float, **options: bool) -> bytes:
    return save(picture, "JPEG", quality=int(quality), subsampling="4:2:0", **options)


@cache
def _standard_huffman_tables() -> frozenset[bytes]:
    """The Huffman tables of T.81's annex K, as the encoder writes them without optimisation."""
    file = _save(np.zeros((8, 8, 3), np.uint8), 50)
    return frozenset(content for marker, content in _parts(file) if marker == _HUFFMAN_TABLES)


def _parts(file: bytes) -> Iterator[tuple[int | None, bytes]]:
    """Segments with their markers, and scans with None, in file order."""
    position = 2
    while (marker := file[position + 1]) != _END_OF_IMAGE:
        end = position + 2 + int.from_bytes(file[position + 2 : position + 4], "big")
        yield marker, file[position + 4 : end]
        position = end
        if marker == _START_OF_SCAN:
            found = _AFTER_SCAN.search(file, position)
            assert found, "a JPEG file ends with a marker"
            yield None, file[position : found.start()]
            position = found.start()
