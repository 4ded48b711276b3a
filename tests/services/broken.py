"""Files that are not what they claim to be."""

import io
import struct
import zlib

from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG, with the right checksum."""
    length, crc = struct.pack(">I", len(content)), struct.pack(">I", zlib.crc32(kind + content))
    return length + kind + content + crc


def png_of_claimed_size(width: int, height: int) -> bytes:
    """A small, intact PNG whose header claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100))
    return _SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def with_data(png: bytes, inflated: bytes) -> bytes:
    """A PNG with the header of another and any image data."""
    header = png[: len(_SIGNATURE) + 25]
    return header + chunk(b"IDAT", zlib.compress(inflated, 9)) + chunk(b"IEND", b"")


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk after its header."""
    header = len(_SIGNATURE) + 25
    return png[:header] + chunk(kind, content) + png[header:]


def one_pixel() -> bytes:
    """A PNG of 1x1."""
    return _as_png(Image.new("RGB", (1, 1)))


def square() -> bytes:
    """A PNG of 200x200: large enough for a crop, in other proportions."""
    return _as_png(Image.new("RGB", (200, 200)))


def _as_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
