"""Write the smallest PNG file for a compact map.

Follows the PNG specification (W3C, third edition): chunks in section 5, filters in 9, deflate in
10. In files of a few hundred bytes the choice of filter and deflate strategy saves tens of bytes,
so all combinations are tried. `shared.codec.png_reader` reads the files.
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
CHUNK_OVERHEAD = 12  # length, type and CRC, 4 bytes each
# Signature, IHDR, IDAT, IEND; then zlib header, checksum and the header of one stored block.
_STORED_OVERHEAD = len(SIGNATURE) + 3 * CHUNK_OVERHEAD + HEADER_BYTES + 2 + 4 + 5
FILTERS = NONE, SUB, UP, AVERAGE, PAETH = range(5)

# Level 0 bounds the size of incompressible maps. The higher levels differ in how they search for
# repeats; at these sizes none always wins.
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
    """The IHDR fields that vary between compact maps.

    Attributes:
        width: pixels per row.
        height: rows.
        bit_depth: bits per sample: 1, 2, 4 or 8 for gray, 8 for RGB.
        color_type: GRAY (one sample per pixel) or RGB (three).
    """

    width: int
    height: int
    bit_depth: int
    color_type: int

    @property
    def row_samples(self) -> int:
        """Samples per row."""
        return self.width * (3 if self.color_type == RGB else 1)

    @property
    def row_bytes(self) -> int:
        """Bytes per row of packed samples, without the filter byte."""
        return (self.row_samples * self.bit_depth + 7) // 8

    @property
    def filter_distance(self) -> int:
        """Distance in bytes to the pixel on the left, as filters use it."""
        return 3 if self.color_type == RGB else 1

    @property
    def inflated_bytes(self) -> int:
        """Bytes of all rows including their filter bytes."""
        return self.height * (1 + self.row_bytes)

    @property
    def largest_file_bytes(self) -> int:
        """Size in bytes of the file that `write` makes of incompressible rows: its maximum."""
        return _STORED_OVERHEAD + self.inflated_bytes

    def to_bytes(self) -> bytes:
        """The IHDR chunk's data: deflate, adaptive filters, no interlacing."""
        return struct.pack(
            ">IIBBBBB", self.width, self.height, self.bit_depth, self.color_type, 0, 0, 0
        )


def write(rows: NDArray[np.uint8], geometry: Geometry) -> bytes:
    """Write the smallest file found over PNG's filters and zlib's strategies.

    Args:
        rows: (height, row_bytes) packed samples.
        geometry: values of the header.
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
    """Filter the rows in every way worth trying: each filter for all rows, and one per row.

    The filter per row follows the specification's heuristic (12.7): the smallest sum of absolute
    differences, read as signed bytes.
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
    return list(dict.fromkeys(scanlines))  # fixed order, so that maps are reproducible


def _filter_all_ways(rows: NDArray[np.uint8], distance: int) -> NDArray[np.uint8]:
    """Apply each filter to all rows: (5, height, row_bytes); neighbours outside count as 0."""
    padded = np.pad(rows.astype(np.int16), ((1, 0), (distance, 0)))
    left, up, corner = padded[1:, :-distance], padded[:-1, distance:], padded[:-1, :-distance]
    neighbours = np.stack([left, up, corner])
    nearest = np.abs(left + up - corner - neighbours).argmin(axis=0)  # ties: left, up, corner
    paeth = np.take_along_axis(neighbours, nearest[np.newaxis], axis=0)[0]
    predictions = np.stack([np.zeros_like(left), left, up, (left + up) // 2, paeth])
    filtered: NDArray[np.uint8] = (rows - predictions).astype(np.uint8)  # modulo 256, as in PNG
    return filtered
