"""Pictures that would take too many pixels, too much memory or too much time."""

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.errors import InvalidImage
from shared.faces.picture import PictureLimits, decode_photo, decode_picture
from tests.unit.shared.faces.pictures import DATA, LIMITS, PHOTO, difference, refusal, saved, scene


def claiming(kind: str, width: int, height: int) -> bytes:  # noqa: PLR0911 - one a format
    """A small file whose header claims a size that its data does not have."""
    if kind == "PNG":
        head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        start = b"\x89PNG\r\n\x1a\n\0\0\0\r" + head + struct.pack(">I", zlib.crc32(head))
        return start + saved(scene(), "PNG")[33:]
    if kind == "BMP":
        data = bytearray(saved(scene(), "BMP"))
        data[18:26] = struct.pack("<ii", width, height)
        return bytes(data)
    if kind == "JPEG":
        data = bytearray(saved(scene(), "JPEG"))
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
        return bytes(data)
    if kind == "GIF":
        data = bytearray(saved(scene(), "GIF"))
        data[6:10] = struct.pack("<HH", width, height)
        return bytes(data)
    if kind == "AVIF":
        data = saved(scene(), "AVIF")
        return data.replace(struct.pack(">II", 48, 32), struct.pack(">II", width, height))
    if kind == "TIFF":
        data = bytearray(saved(scene(), "TIFF", compression="tiff_lzw"))
        (start,) = struct.unpack_from("<I", data, 4)
        for entry in range(start + 2, len(data) - 11, 12):
            tag = struct.unpack_from("<H", data, entry)[0]
            if tag in {256, 257}:
                struct.pack_into("<HII", data, entry + 2, 4, 1, width if tag == 256 else height)
        return bytes(data)
    other = Image.new("RGB", (48, 32))
    data = bytearray(saved(scene(), "WEBP", save_all=True, append_images=[other]))
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "JPEG", "WEBP", "GIF", "AVIF", "TIFF"])
@pytest.mark.parametrize(("width", "height"), [(16000, 16000), (12000, 10001)])
def test_too_many_pixels_are_refused_by_the_header_at_once(
    kind: str, width: int, height: int
) -> None:
    data = claiming(kind, width, height)
    started = time.monotonic()
    error = refusal(data)
    assert time.monotonic() - started < 0.5
    assert error.reason == "TOO_MANY_PIXELS"
    assert f"{width}x{height} pixels; at most 120000000" in error.message


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "TIFF"])
def test_pixels_that_take_too_much_memory_are_refused_with_both_numbers(kind: str) -> None:
    error = refusal(claiming(kind, 10000, 11000))
    assert error.reason == "TOO_MANY_PIXELS"
    assert "10000x11000 pixels, which take" in error.message
    assert f"decode from {kind}; at most {LIMITS.max_memory} are accepted" in error.message


MEASURE = """
import resource, sys
from shared.errors import InvalidImage
from shared.faces.picture import PictureLimits, decode_photo
data = sys.stdin.buffer.read()
decode_photo(open(sys.argv[1], "rb").read(), PictureLimits())
peak = lambda who: resource.getrusage(who).ru_maxrss * 1024
before = peak(resource.RUSAGE_SELF)
try:
    photo = decode_photo(data, PictureLimits())
    print(*photo.pixels.shape, photo.reduction)
except InvalidImage as error:
    print(error.reason)
print(peak(resource.RUSAGE_SELF) - before + peak(resource.RUSAGE_CHILDREN))
"""


def decoded_and_measured(data: bytes) -> tuple[str, int]:
    """What became of a picture in a process of its own, and the bytes that it took at most."""
    said = subprocess.run(
        [sys.executable, "-c", MEASURE, str(PHOTO)],
        input=data,
        capture_output=True,
        check=True,
        cwd=DATA.parents[1],
    ).stdout.decode()
    outcome, taken = said.splitlines()
    return outcome, int(taken)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "subsampling": 0}),
        ("PNG", {"compress_level": 1}),
        ("GIF", {}),
        ("WEBP", {"method": 0}),
        ("AVIF", {"speed": 10}),
    ],
)
def test_photographs_of_32_to_48_megapixels_are_read_at_half_size_within_the_budget(
    kind: str, options: dict[str, object]
) -> None:
    with Image.open(PHOTO) as photo:
        small = photo.quantize() if kind == "GIF" else photo
        # Pillow decodes a WebP to two canvases.
        width, height = (6400, 5000) if kind == "WEBP" else (8064, 6048)
        large = small.resize((width, height), Image.Resampling.NEAREST)
    outcome, taken = decoded_and_measured(saved(large, kind, **options))
    assert outcome == f"{height // 2} {width // 2} 3 2"
    assert taken < LIMITS.max_memory


BOMB = "524946461a000000574542505650384c0d0000002f17d54515071011118888fe0700"


def test_34_bytes_that_unfold_to_29_megapixels_stay_within_the_budget() -> None:
    outcome, taken = decoded_and_measured(bytes.fromhex(BOMB))
    assert outcome == "2700 2700 3 2"
    assert taken < LIMITS.max_memory


def test_an_avif_that_claims_fewer_pixels_than_it_has_stays_within_the_budget() -> None:
    tight = PictureLimits(max_memory=24 * 1024**2)
    assert decode_picture(saved(scene(64, 64), "AVIF"), tight).shape == (64, 64, 3)
    data = saved(Image.new("RGB", (5000, 5000)), "AVIF", speed=10)
    small = data.replace(struct.pack(">II", 5000, 5000), struct.pack(">II", 64, 64))
    assert small != data
    assert refusal(small, tight).reason == "IMAGE_TRUNCATED"


def test_a_tiff_of_one_enormous_tile_is_refused() -> None:
    data = bytearray(saved(scene(), "TIFF", compression="tiff_lzw"))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, entry)
        if tag in {273, 278, 279}:  # strips become tiles
            new = {273: 324, 278: 322, 279: 325}[tag]
            struct.pack_into("<HHI", data, entry, new, 4, 1)
            if tag == 278:
                struct.pack_into("<I", data, entry + 8, 60000)
    extra = struct.pack("<HHII", 323, 4, 1, 60000)
    entries = sorted(
        [bytes(data[at : at + 12]) for at in range(start + 2, start + 2 + 12 * count, 12)]
        + [extra],
        key=lambda entry: entry[:2][::-1],
    )
    directory = struct.pack("<H", count + 1) + b"".join(entries) + bytes(4)
    struct.pack_into("<I", data, 4, len(data))
    assert refusal(bytes(data) + directory).reason == "TOO_MANY_PIXELS"


@pytest.mark.parametrize(("kind", "side"), [("JPEG", 7001), ("PNG", 5003), ("WEBP", 5003)])
def test_a_reduced_picture_shows_the_whole_scene(kind: str, side: int) -> None:
    large = Image.fromarray(scene()).resize((side, side - 2), Image.Resampling.BILINEAR)
    photo = decode_photo(saved(large, kind), LIMITS)
    assert photo.reduction == 2
    assert photo.pixels.shape == (-(-(side - 2) // 2), -(-side // 2), 3)
    small = Image.fromarray(photo.pixels).resize((48, 32), Image.Resampling.BOX)
    expected = large.resize((48, 32), Image.Resampling.BOX)
    assert difference(np.asarray(small), np.asarray(expected)) < 2


def test_a_jpeg_that_is_gone_over_too_often_is_refused_at_once() -> None:
    data = saved(Image.new("RGB", (4000, 3000)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    many = data[:last] + data[last:-2] * 1000 + data[-2:]
    started = time.monotonic()
    error = refusal(many)
    assert time.monotonic() - started < 2
    assert error.reason == "TOO_MANY_SCANS"
    assert "at most 166" in error.message


def gone_over_often(scans: int) -> bytes:
    """Twelve megapixels in a file of 200 KB, each scan of which goes over all of them."""
    data = saved(Image.new("RGB", (4000, 3000)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def test_a_picture_that_takes_long_is_stopped() -> None:
    error = refusal(gone_over_often(150), PictureLimits(max_seconds=0.1))
    assert error.reason == "DECODING_TOO_SLOW"
    assert "not decoded within 0.1 s of a core" in error.message


def test_a_picture_that_takes_long_is_given_up_when_nobody_waits_for_it() -> None:
    with pytest.raises(InvalidImage, match=r"not decoded within 0\.1 s") as caught:
        decode_photo(gone_over_often(150), LIMITS, patience_s=0.1)
    assert caught.value.reason == "DECODING_TOO_SLOW"


def test_a_picture_that_takes_long_is_the_same_decoded_apart() -> None:
    data = gone_over_often(100)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(decode_picture(data, LIMITS), expected)


def test_what_was_refused_apart_is_refused_alike() -> None:
    with Image.open(PHOTO) as photo:
        large = photo.convert("RGB").resize((6000, 5000))
        data = saved(large, "JPEG", progressive=True)
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    error = refusal(data[: data.rindex(b"\xff\xc4", 0, starts[-1])])
    assert error.reason == "IMAGE_TRUNCATED"


def resident() -> int:
    """Bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells it there")
def test_what_a_bomb_took_is_given_back() -> None:
    before = resident()
    for _ in range(2):
        decode_picture(bytes.fromhex(BOMB), LIMITS)
    assert resident() - before < 64e6  # one of them takes 510 MB
