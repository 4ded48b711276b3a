"""A strict reader for compact maps that arrive as PNG files.

An image library would inflate whatever a few kilobytes claim to hold. This reader knows the
expected geometry: it checks every chunk, length and checksum before use, bounds memory by that
geometry, and rejects any deviation.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from shared.codec.png import (
    AVERAGE,
    CHUNK_OVERHEAD,
    FILTERS,
    HEADER_BYTES,
    NONE,
    PAETH,
    SIGNATURE,
    SUB,
    UP,
    Geometry,
)
from shared.errors import InvalidCompactMap

MAX_PNG_BYTES = 4096
"""Upper limit of a compact map in bytes."""


def read(png: bytes, geometry: Geometry) -> NDArray[np.uint8]:
    """Read the packed samples (height, row_bytes) of a file of exactly this geometry.

    Raises:
        InvalidCompactMap: MAP_TOO_LARGE, MAP_NOT_PNG, MAP_TRUNCATED, MAP_BAD_CRC,
            MAP_CHUNK_NOT_ALLOWED, MAP_TRAILING_BYTES, MAP_GEOMETRY, MAP_BAD_DATA (not
            deflate), MAP_DATA_LENGTH or MAP_BAD_FILTER.
    """
    if len(png) > MAX_PNG_BYTES:
        raise InvalidCompactMap(
            "MAP_TOO_LARGE",
            f"compact map is {len(png)} bytes; at most {MAX_PNG_BYTES} are accepted",
        )
    if not png.startswith(SIGNATURE):
        raise InvalidCompactMap("MAP_NOT_PNG", "compact map does not start with PNG's signature")
    data = _image_data(png, geometry)
    return _unfilter(_inflate(data, geometry.inflated_bytes), geometry)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, content) of each chunk with a valid checksum, up to the end of the file."""
    offset = len(SIGNATURE)
    while offset < len(png):
        head = png[offset : offset + 8]
        length = int.from_bytes(head[:4], "big")
        end = offset + CHUNK_OVERHEAD + length
        if len(head) < 8 or end > len(png):  # noqa: PLR2004 - length and type, four bytes each
            raise InvalidCompactMap(
                "MAP_TRUNCATED",
                f"compact map ends at byte {len(png)}, inside the chunk at byte {offset}",
            )
        kind, content = head[4:], png[offset + 8 : end - 4]
        if zlib.crc32(kind + content) != int.from_bytes(png[end - 4 : end], "big"):
            raise InvalidCompactMap(
                "MAP_BAD_CRC", f"checksum of the chunk at byte {offset} of the map is wrong"
            )
        yield kind, content
        offset = end
        if kind == b"IEND" and end < len(png):
            raise InvalidCompactMap(
                "MAP_TRAILING_BYTES", f"compact map has {len(png) - end} bytes after IEND"
            )


def _image_data(png: bytes, geometry: Geometry) -> bytes:
    """Join the IDAT contents of a file of IHDR, one or more IDAT, and IEND."""
    data: list[bytes] = []
    allowed: tuple[bytes, ...] = (b"IHDR",)
    for kind, content in _chunks(png):
        if kind not in allowed or (kind == b"IEND" and content):
            raise InvalidCompactMap(
                "MAP_CHUNK_NOT_ALLOWED",
                f"compact map has chunk {kind!r} of {len(content)} bytes where only "
                f"{_names(allowed)} is allowed, and IEND must be empty",
            )
        if kind == b"IHDR":
            _check_header(content, geometry)
            allowed = (b"IDAT",)
        elif kind == b"IDAT":
            data.append(content)
            allowed = (b"IDAT", b"IEND")
        else:
            allowed = ()
    if allowed:
        raise InvalidCompactMap(
            "MAP_TRUNCATED", f"compact map ends at byte {len(png)}, before {_names(allowed)}"
        )
    return b"".join(data)


def _names(kinds: tuple[bytes, ...]) -> str:
    return " or ".join(kind.decode() for kind in kinds)


def _check_header(content: bytes, geometry: Geometry) -> None:
    if content == geometry.to_bytes():
        return
    if len(content) != HEADER_BYTES:
        said = f"{len(content)} bytes of header"
    else:
        said = "{}x{} pixels, bit depth {}, colour type {}, methods {}/{}/{}".format(
            *struct.unpack(">IIBBBBB", content)
        )
    raise InvalidCompactMap(
        "MAP_GEOMETRY",
        f"compact map has {said}; its codec needs {geometry.width}x{geometry.height} pixels, "
        f"bit depth {geometry.bit_depth}, colour type {geometry.color_type}, methods 0/0/0",
    )


def _inflate(data: bytes, length: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        # One extra byte reveals excess data without inflating it.
        inflated = inflater.decompress(data, length + 1)
    except zlib.error:
        raise InvalidCompactMap(
            "MAP_BAD_DATA", "image data of the compact map is not a complete zlib stream"
        ) from None
    if len(inflated) != length or not inflater.eof or inflater.unused_data:
        raise InvalidCompactMap(
            "MAP_DATA_LENGTH",
            f"image data of the compact map does not inflate to exactly {length} bytes",
        )
    return inflated


def _unfilter(inflated: bytes, geometry: Geometry) -> NDArray[np.uint8]:
    stride = 1 + geometry.row_bytes
    above = bytearray(geometry.row_bytes)
    rows = []
    for start in range(0, len(inflated), stride):
        kind, line = inflated[start], bytearray(inflated[start + 1 : start + stride])
        if kind not in FILTERS:
            raise InvalidCompactMap(
                "MAP_BAD_FILTER", f"row filter {kind} of the compact map; the last one is {PAETH}"
            )
        if kind != NONE:
            _unfilter_row(kind, line, above, geometry.filter_distance)
        rows.append(line)
        above = line
    return np.frombuffer(b"".join(rows), np.uint8).reshape(geometry.height, geometry.row_bytes)


def _unfilter_row(kind: int, line: bytearray, above: bytearray, distance: int) -> None:
    """Add the filter's prediction to each byte of `line`, in place (section 9.2)."""
    for i, up in enumerate(above):
        left = line[i - distance] if i >= distance else 0
        corner = above[i - distance] if i >= distance else 0
        line[i] = (line[i] + _predict(kind, left, up, corner)) & 0xFF


def _predict(kind: int, left: int, up: int, corner: int) -> int:
    if kind == SUB:
        return left
    if kind == UP:
        return up
    if kind == AVERAGE:
        return (left + up) // 2
    estimate = left + up - corner
    return min((left, up, corner), key=lambda neighbour: abs(estimate - neighbour))
