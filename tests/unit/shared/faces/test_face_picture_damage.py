"""Damaged pictures: refused, or read where only metadata is damaged."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from shared.errors import InvalidImage
from shared.faces.picture import decode_picture
from tests.unit.shared.faces.pictures import (
    FORMATS,
    HEIC,
    LIMITS,
    PHOTO,
    chunk,
    refusal,
    saved,
    scene,
)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_short_anywhere_is_refused_or_whole(kind: str) -> None:
    """A few formats end in bytes that no pixel needs; all else is one of two refusals."""
    data = saved(scene(), kind)
    for length in range(1, len(data), 37 if kind == "AVIF" else 7):
        try:
            decode_picture(data[:length], LIMITS)
        except InvalidImage as error:
            assert error.reason in {"NOT_AN_IMAGE", "IMAGE_TRUNCATED"}  # noqa: PT017
        else:
            assert length > len(data) * 0.8
    assert refusal(data[: len(data) // 2]).reason in {"NOT_AN_IMAGE", "IMAGE_TRUNCATED"}


def test_half_a_photograph_is_called_truncated() -> None:
    data = PHOTO.read_bytes()
    assert refusal(data[: len(data) // 2]).reason == "IMAGE_TRUNCATED"


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_anywhere_gives_a_picture_or_a_refusal(kind: str) -> None:
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(scene(), kind, exif=exif)
    for _ in range(30 if kind == "AVIF" else 300):  # each takes a process
        damaged = bytearray(data)
        for offset in rng.integers(len(data), size=3):
            damaged[offset] = rng.integers(256)
        try:
            picture = decode_picture(bytes(damaged), LIMITS)
        except InvalidImage as error:
            assert "Traceback" not in error.message  # noqa: PT017
        else:
            assert picture.ndim == 3


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 0, "quality": 95}],
)
def test_only_the_end_marker_of_a_jpeg_may_be_missing(options: dict[str, object]) -> None:
    with Image.open(PHOTO) as photo:
        data = saved(photo, "JPEG", **options)
    whole = decode_picture(data, LIMITS)
    assert data.endswith(b"\xff\xd9")
    for tail in (b"", b"\xff", b"\0" * 100):
        assert np.array_equal(decode_picture(data[:-2] + tail, LIMITS), whole)
    for missing in (4, 8, 40, 400, 4000, len(data) // 2):
        assert refusal(data[: -2 - missing]).reason == "IMAGE_TRUNCATED"


def test_a_progressive_jpeg_that_ends_between_two_scans_is_refused() -> None:
    """What is there decodes without an error, and lacks detail."""
    with Image.open(PHOTO) as photo:
        data = saved(photo, "JPEG", progressive=True)
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(starts) > 5
    for start in starts[1:]:
        tables = data.rindex(b"\xff\xc4", 0, start)
        assert refusal(data[:tables]).reason == "IMAGE_TRUNCATED"


def test_damage_to_heic_gives_a_picture_or_a_refusal() -> None:
    rng = np.random.default_rng(0)
    data = HEIC.read_bytes()
    for _ in range(60):
        damaged = bytearray(data)
        for offset in rng.integers(800, size=2):  # its boxes; the rest is pixels
            damaged[offset] = rng.integers(256)
        try:
            picture = decode_picture(bytes(damaged), LIMITS)
        except InvalidImage as error:
            assert "Traceback" not in error.message  # noqa: PT017
        else:
            assert picture.ndim == 3


def test_a_tiff_whose_tags_are_of_other_types_is_refused() -> None:
    data = bytearray(saved(scene(), "TIFF"))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = [bytes(data[at : at + 12]) for at in range(start + 2, start + 2 + 12 * count, 12)]
    entries += [struct.pack("<HHI4s", tag, 2, 3, b"ab\0\0") for tag in (322, 323)]
    entries.sort(key=lambda entry: entry[1::-1])
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    struct.pack_into("<I", data, 4, len(data))
    assert refusal(bytes(data) + directory).reason == "NOT_AN_IMAGE"


def text_chunk(name: bytes, size: int) -> bytes:
    text = b"x" * size
    return chunk(name, b"Comment\0" + (b"\0" + zlib.compress(text) if name == b"zTXt" else text))


@pytest.mark.parametrize(
    "extra",
    [
        text_chunk(b"zTXt", 2_000_000),
        text_chunk(b"tEXt", 3_000_000),
        text_chunk(b"tEXt", 20)[:-1] + b"!",
        chunk(b"zTXt", b"Comment\0\0 no deflate"),
        chunk(b"iCCP", b"damaged"),
        chunk(b"pHYs", b"1"),
        chunk(b"eXIf", b"damaged"),
        chunk(b"gAMA", b""),
    ],
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_metadata_does_not_spoil_a_sound_png(extra: bytes, place: str) -> None:
    data = saved(scene(), "PNG")
    at = 33 if place == "before" else len(data) - 12
    assert np.array_equal(decode_picture(data[:at] + extra + data[at:], LIMITS), scene())


def test_a_png_with_damaged_text_stays_transparent_and_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    image = Image.new("P", (30, 20), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 1)
    data = saved(image, "PNG", transparency=0, exif=exif)
    picture = decode_picture(data[:33] + text_chunk(b"tEXt", 20)[:-1] + b"!" + data[33:], LIMITS)
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[-1, -1].tolist() == [200, 100, 50]


@pytest.mark.parametrize("number", [1, 2, 13, 14])
def test_damaged_metadata_does_not_spoil_a_sound_jpeg(number: int) -> None:
    data = saved(scene(), "JPEG")
    heads = [b"Exif\0\0II*\0\xff\xff\xff\xff", b"MPF\0damaged", b"ICC_PROFILE\0", b"Adobe"]
    for head in heads:
        segment = bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(head) + 2) + head
        picture = decode_picture(data[:2] + segment + data[2:], LIMITS)
        assert picture.shape == (32, 48, 3)
