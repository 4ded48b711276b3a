"""The PNG files that compact maps travel in, written as small as deflate allows.

After the PNG specification (W3C, third edition): chunks in section 5, filters in 9, deflate in
10. At a few hundred bytes a file the choice of filter and strategy is worth tens of bytes, so
all are tried. `shared.codec.png_reader` is the way back.
"""

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRAY = 0
RGB = 2

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = 13
CHUNK_OVERHEAD = 12  # length, type and CRC, four bytes each
# Signature, IHDR, IDAT, IEND; then zlib's header and checksum and one stored block's header.
_STORED_OVERHEAD = len(SIGNATURE) + 3 * CHUNK_OVERHEAD + HEADER_BYTES + 2 + 4 + 5
FILTERS = NONE, SUB, UP, AVERAGE, PAETH = range(5)

# Level 0 bounds the size of incompressible maps. The slow levels differ in how far they look
# for repeats, and at these sizes now one and now the other comes out a byte shorter.
_DEFLATERS = (
    (0, zlib.Z_DEFAULT_STRATEGY),
    (1, zlib.Z_DEFAULT_STRATEGY),
    (6, zlib.Z_DEFAULT_STRATEGY),
    (9, zlib.Z_DEFAULT_STRATEGY),
    (9, zlib.Z_FILTERED),
    (9, zlib.Z_HUFFMAN_ONLY),
    (9, zlib.Z_RLE),
    (9, zlib.Z_FIXED),
)


@dataclass(frozen=True, slots=True)
class Geometry:
    """What the IHDR chunk says, for the kinds of PNG that compact maps use.

    Attributes:
        width: pixels in a row.
        height: rows.
        bit_depth: bits of a sample: 1, 2, 4 or 8 for gray, 8 for RGB.
        color_type: GRAY (one sample a pixel) or RGB (three).
    """

    width: int
    height: int
    bit_depth: int
    color_type: int

    @property
    def row_samples(self) -> int:
        """Samples of a row."""
        return self.width * (3 if self.color_type == RGB else 1)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of packed samples, without its filter byte."""
        return (self.row_samples * self.bit_depth + 7) // 8

    @property
    def filter_distance(self) -> int:
        """How many bytes back the filters look for the pixel to the left."""
        return 3 if self.color_type == RGB else 1

    @property
    def inflated_bytes(self) -> int:
        """Bytes of all rows with their filter bytes."""
        return self.height * (1 + self.row_bytes)

    @property
    def largest_file_bytes(self) -> int:
        """Size of the file that `write` makes of incompressible rows: the most it ever takes."""
        return _STORED_OVERHEAD + self.inflated_bytes

    def to_bytes(self) -> bytes:
        """The data of the IHDR chunk: deflate, adaptive filters, not interlaced."""
        return struct.pack(
            ">IIBBBBB", self.width, self.height, self.bit_depth, self.color_type, 0, 0, 0
        )


def write(rows: NDArray[np.uint8], geometry: Geometry) -> bytes:
    """The smallest file found for these rows, over PNG's filters and zlib's strategies.

    Args:
        rows: (height, row_bytes) packed samples.
        geometry: what the header is to say.
    """
    data = min(
        (
            _deflate(filtered, level, strategy)
            for filtered in _filterings(rows, geometry.filter_distance)
            for level, strategy in _DEFLATERS
        ),
        key=len,
    )
    chunks = (b"IHDR", geometry.to_bytes()), (b"IDAT", data), (b"IEND", b"")
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def _deflate(data: bytes, level: int, strategy: int) -> bytes:
    deflater = zlib.compressobj(level, memLevel=9, strategy=strategy)
    return deflater.compress(data) + deflater.flush()


def _filterings(rows: NDArray[np.uint8], distance: int) -> list[bytes]:
    """The rows as PNG filters them: every filter for all rows, and the best guess per row.

    The guess is the specification's heuristic (12.7): the filter whose output, read as signed
    bytes, has the smallest sum of magnitudes.
    """
    filtered = _filter_all_ways(rows, distance)
    magnitudes = np.abs(filtered.view(np.int8).astype(np.int32)).sum(axis=2)
    guess = magnitudes.argmin(axis=0)
    choices = [np.full(len(rows), kind) for kind in FILTERS] + [guess]
    row_numbers = np.arange(len(rows))
    scanlines = (
        np.column_stack([kinds.astype(np.uint8), filtered[kinds, row_numbers]]).tobytes()
        for kinds in choices
    )
    return list(dict.fromkeys(scanlines))  # in a fixed order, so that maps are reproducible


def _filter_all_ways(rows: NDArray[np.uint8], distance: int) -> NDArray[np.uint8]:
    """(5, height, row_bytes): the rows after each filter, neighbours outside counting as 0."""
    padded = np.pad(rows.astype(np.int16), ((1, 0), (distance, 0)))
    left, up, corner = padded[1:, :-distance], padded[:-1, distance:], padded[:-1, :-distance]
    neighbours = np.stack([left, up, corner])
    nearest = np.abs(left + up - corner - neighbours).argmin(axis=0)  # ties: left, up, corner
    paeth = np.take_along_axis(neighbours, nearest[np.newaxis], axis=0)[0]
    predictions = np.stack([np.zeros_like(left), left, up, (left + up) // 2, paeth])
    filtered: NDArray[np.uint8] = (rows - predictions).astype(np.uint8)  # modulo 256, as in PNG
    return filtered
