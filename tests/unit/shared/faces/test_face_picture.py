"""Pictures from outside: every kind that is read, and the refusal of the rest."""

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.errors import InvalidImage
from shared.faces.picture import (
    PictureLimits,
    decode_photo,
    decode_picture,
    require_photo_size,
)
from shared.faces.picture_file import capture_time

DATA = Path(__file__).parents[3] / "data"
PHOTO = DATA / "eileen_collins_portrait.jpg"
HEIC = DATA / "collins.heic"
LIMITS = PictureLimits()
FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"]


def scene(width: int = 48, height: int = 32) -> np.ndarray:
    """Red to the left, blue to the right, brighter downwards: nothing about it is symmetric."""
    y, x = np.indices((height, width)) / [[[height - 1]], [[width - 1]]]
    return np.stack([255 * (1 - x), 200 * y, 255 * x], axis=-1).astype(np.uint8)


def saved(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture.save(file, kind, **options)
    return file.getvalue()


def refusal(data: bytes, limits: PictureLimits = LIMITS) -> InvalidImage:
    with pytest.raises(InvalidImage) as caught:
        decode_picture(data, limits)
    return caught.value


def difference(picture: np.ndarray, expected: np.ndarray) -> float:
    assert picture.dtype == np.uint8
    assert picture.shape == expected.shape
    return float(np.abs(picture.astype(int) - expected).mean())


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_shows_the_same_scene(kind: str) -> None:
    assert difference(decode_picture(saved(scene(), kind), LIMITS), scene()) < 8


def test_a_photograph_is_read() -> None:
    picture = decode_picture(PHOTO.read_bytes(), LIMITS)
    assert picture.shape[2] == 3
    assert 30 < picture.mean() < 220


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_makes_the_picture_upright(kind: str, orientation: int) -> None:
    stored = {  # how a camera held that way stores the scene
        1: scene(),
        2: scene()[:, ::-1],
        3: scene()[::-1, ::-1],
        4: scene()[::-1],
        5: scene().transpose(1, 0, 2),
        6: np.rot90(scene(), 1),
        7: scene().transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(scene(), -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(np.ascontiguousarray(stored), kind, exif=exif)
    assert difference(decode_picture(data, LIMITS), scene()) < 8


def test_gray_has_three_equal_channels() -> None:
    gray = scene()[..., 0]
    picture = decode_picture(saved(gray, "PNG"), LIMITS)
    assert np.array_equal(picture, np.repeat(gray[..., None], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_gray_of_16_bits_keeps_its_full_range(kind: str) -> None:
    gray = np.linspace(0, 65535, 32 * 48).reshape(32, 48).astype(np.uint16)
    picture = decode_picture(saved(gray, kind), LIMITS)
    assert picture.min() == 0
    assert picture.max() == 255
    assert np.abs(picture[..., 1] - gray / 257).max() <= 0.5


def test_black_and_white_is_read() -> None:
    image = Image.fromarray(scene()[..., 0] > 128)
    assert set(np.unique(decode_picture(saved(image, "PNG"), LIMITS))) == {0, 255}


def test_a_palette_is_resolved() -> None:
    image = Image.fromarray(scene()).quantize(256)
    assert difference(decode_picture(saved(image, "PNG"), LIMITS), scene()) < 8


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_samples_of_16_bits_are_scaled_by_the_bits_in_use(kind: str, bits: int) -> None:
    gray = np.linspace(0, 2**bits - 1, 32 * 48).reshape(32, 48).astype(np.uint16)
    picture = decode_picture(saved(gray, kind), LIMITS)
    assert np.abs(picture[..., 1] - gray / (2**bits - 1) * 255).max() <= 0.5


def png_of_16_bits(samples: np.ndarray) -> bytes:
    """(H, W, 3 or 4) uint16 as a PNG file, which Pillow does not write."""
    height, width, channels = samples.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def chunk(name: bytes, body: bytes) -> bytes:
    checked = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + checked


def tiff_of_16_bits(samples: np.ndarray) -> bytes:
    return cv2.imencode(".tiff", samples[..., ::-1])[1].tobytes()


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("write", [png_of_16_bits, tiff_of_16_bits])
def test_so_are_those_of_colours(write: Callable[[np.ndarray], bytes], bits: int) -> None:
    samples = (scene() / 255 * (2**bits - 1)).astype(np.uint16)
    data = write(samples)
    picture = decode_picture(data, LIMITS)
    assert np.abs(picture - samples / (2**bits - 1) * 255).max() <= 0.5
    assert refusal(data[: len(data) // 2]).reason in {"IMAGE_TRUNCATED", "NOT_AN_IMAGE"}


def test_transparency_of_16_bits_shows_white() -> None:
    samples = np.full((32, 48, 4), 65535, np.uint16)
    samples[..., :3] = scene().astype(np.uint16) * 257
    samples[:, :24, 3] = 0
    picture = decode_picture(png_of_16_bits(samples), LIMITS)
    assert (picture[:, :24] == 255).all()
    assert difference(picture[:, 24:], scene()[:, 24:]) < 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "TIFF"])
def test_transparency_shows_white(kind: str) -> None:
    alpha = np.zeros((32, 48, 1), np.uint8)
    alpha[:, 24:] = 255
    options = {"quality": 100} if kind == "AVIF" else {"lossless": True}
    data = saved(np.concatenate([scene(), alpha], axis=2), kind, **options)
    picture = decode_picture(data, LIMITS)
    assert (picture[:, :23] > 250).all()
    assert difference(picture[:, 24:], scene()[:, 24:]) < 3


def test_a_transparent_palette_entry_shows_white() -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((3, 4), 1)
    picture = decode_picture(saved(image, "PNG", transparency=0), LIMITS)
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[4, 3].tolist() == [200, 100, 50]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_shows_the_colours_it_prints(kind: str) -> None:
    """Pillow writes CMYK JPEGs as Adobe does, inverted, with the marker that says so."""
    data = saved(Image.fromarray(scene()).convert("CMYK"), kind, quality=95)
    assert difference(decode_picture(data, LIMITS), scene()) < 8


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "GIF", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    others = [Image.new("RGB", (48, 32), colour) for colour in ("black", "white")]
    options = {"quality": 100} if kind == "AVIF" else {"lossless": True}
    data = saved(scene(), kind, save_all=True, append_images=others, **options)
    assert difference(decode_picture(data, LIMITS), scene()) < (8 if kind == "GIF" else 2)


@pytest.mark.parametrize("name", ["collins.heic", "collins_turned.heic"])
def test_heic_is_read_upright(name: str) -> None:
    with Image.open(PHOTO) as photo:
        upright = np.asarray(photo.convert("RGB").resize((384, 384), Image.Resampling.LANCZOS))
    assert difference(decode_picture((DATA / name).read_bytes(), LIMITS), upright) < 4


def test_a_heic_file_that_is_cut_or_lies_about_its_size_is_refused() -> None:
    data = HEIC.read_bytes()
    assert refusal(data[: len(data) // 2]).reason in {"NOT_AN_IMAGE", "IMAGE_TRUNCATED"}
    small = data.replace(struct.pack(">II", 384, 384), struct.pack(">II", 64, 64))
    assert refusal(small).reason == "IMAGE_TRUNCATED"
    large = data.replace(struct.pack(">II", 384, 384), struct.pack(">II", 9000, 9000))
    assert refusal(large).reason == "TOO_MANY_PIXELS"


def test_without_its_extra_heic_is_refused_with_what_to_install() -> None:
    code = (
        "import sys; sys.modules['pi_heif'] = None\n"
        "from shared.errors import InvalidImage\n"
        "from shared.faces.picture import PictureLimits, decode_picture\n"
        "try: decode_picture(sys.stdin.buffer.read(), PictureLimits())\n"
        "except InvalidImage as error: print(error.reason, error.message)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        input=HEIC.read_bytes(),
        capture_output=True,
        check=True,
        cwd=DATA.parents[1],
    ).stdout.decode()
    assert said.startswith("HEIC_NOT_INSTALLED ")
    assert "pip install 'compactface[heic]'" in said


def test_one_pixel_is_a_picture_but_no_photo() -> None:
    picture = decode_picture(saved(Image.new("RGB", (1, 1)), "PNG"), LIMITS)
    assert picture.shape == (1, 1, 3)
    with pytest.raises(InvalidImage) as caught:
        require_photo_size(picture)
    assert caught.value.reason == "IMAGE_TOO_SMALL"
    assert caught.value.message == "picture is 1x1 pixels; each side must have at least 20"


def test_twenty_pixels_are_enough_to_look_at() -> None:
    require_photo_size(scene(20, 20))


def test_an_empty_file_is_refused() -> None:
    assert refusal(b"").reason == "EMPTY_IMAGE"


def test_a_file_above_the_limit_is_refused_with_both_numbers() -> None:
    error = refusal(bytes(1001), PictureLimits(max_bytes=1000))
    assert error.reason == "IMAGE_TOO_LARGE"
    assert error.message == "picture is 1001 bytes; at most 1000 are accepted"


@pytest.mark.parametrize(
    "data",
    [b"\0", b"hello, world" * 100, b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 "],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert refusal(data).reason == "NOT_AN_IMAGE"


@pytest.mark.parametrize("kind", ["ICO", "PPM", "TGA", "PDF"])
def test_a_format_that_is_not_listed_is_refused(kind: str) -> None:
    assert refusal(saved(scene(), kind)).reason == "NOT_AN_IMAGE"


@pytest.mark.parametrize("kind", ["F", "I"])
def test_samples_of_32_bits_are_refused(kind: str) -> None:
    assert refusal(saved(Image.new(kind, (30, 30)), "TIFF")).reason == "PIXELS_NOT_SUPPORTED"


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
    error = refusal(gone_over_often(150), PictureLimits(max_seconds=1))
    assert error.reason == "DECODING_TOO_SLOW"
    assert "not decoded within 1 s of a core" in error.message


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


def exif_of(**times: str) -> Image.Exif:
    exif = Image.Exif()
    numbers = {"taken": 0x9003, "offset": 0x9011, "digitized": 0x9004}
    if "changed" in times:
        exif[0x0132] = times.pop("changed")
    exif[0x8769] = {numbers[name]: text for name, text in times.items()}
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_the_capture_time_is_that_of_exif_with_its_offset(kind: str) -> None:
    exif = exif_of(taken="2012:12:06 14:30:00", offset="-05:00", changed="2020:01:01 00:00:00")
    options = {"tiffinfo": {0x8769: exif[0x8769]}} if kind == "TIFF" else {"exif": exif}
    data = saved(scene(), kind, **options)
    assert capture_time(data) == datetime(2012, 12, 6, 19, 30, tzinfo=UTC)


def test_that_of_heic_is_read_too() -> None:
    data = (DATA / "collins_turned.heic").read_bytes()
    assert capture_time(data) == datetime(2012, 12, 6, 19, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "times",
    [
        {},
        {"taken": "2012:12:06 14:30:00"},
        {"taken": "2012:12:06 14:30:00", "offset": "   :  "},
        {"taken": "0000:00:00 00:00:00", "offset": "+00:00"},
        {"taken": "0001:01:01 00:00:00", "offset": "+14:00"},
        {"digitized": "2012:12:06 14:30:00", "offset": "+00:00"},
    ],
)
def test_without_an_offset_the_capture_time_is_unknown(times: dict[str, str]) -> None:
    assert capture_time(saved(scene(), "JPEG", exif=exif_of(**times))) is None


def test_what_is_no_picture_has_no_capture_time() -> None:
    assert capture_time(b"hello") is None
