"""Pictures from outside: every kind that is read, and the refusal of the rest."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.errors import InvalidImage
from shared.faces.picture import PictureLimits, decode_picture, require_photo_size
from tests.unit.shared.faces.pictures import (
    DATA,
    FORMATS,
    HEIC,
    LIMITS,
    PHOTO,
    chunk,
    difference,
    refusal,
    saved,
    scene,
)


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
