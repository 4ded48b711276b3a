"""Pictures from outside: every kind that is read, and the refusal of the rest."""

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.errors import InvalidImage
from shared.face.picture import PictureLimits, decode_picture, require_photo_size

PHOTO = Path(__file__).parents[1] / "data" / "eileen_collins_portrait.jpg"
LIMITS = PictureLimits()
FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "TIFF"]


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
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


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_shows_white(kind: str) -> None:
    alpha = np.zeros((32, 48, 1), np.uint8)
    alpha[:, 24:] = 255
    data = saved(np.concatenate([scene(), alpha], axis=2), kind, lossless=True)
    picture = decode_picture(data, LIMITS)
    assert (picture[:, :24] == 255).all()
    assert difference(picture[:, 24:], scene()[:, 24:]) < 1


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


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    others = [Image.new("RGB", (48, 32), colour) for colour in ("black", "white")]
    data = saved(scene(), kind, save_all=True, append_images=others, lossless=True)
    assert difference(decode_picture(data, LIMITS), scene()) < 1


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


@pytest.mark.parametrize("kind", ["GIF", "ICO", "PPM", "TGA", "PDF"])
def test_a_format_that_is_not_listed_is_refused(kind: str) -> None:
    assert refusal(saved(scene(), kind)).reason == "NOT_AN_IMAGE"


@pytest.mark.parametrize("kind", ["F", "I"])
def test_samples_of_32_bits_are_refused(kind: str) -> None:
    assert refusal(saved(Image.new(kind, (30, 30)), "TIFF")).reason == "PIXELS_NOT_SUPPORTED"


def claiming(kind: str, width: int, height: int) -> bytes:
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
    other = Image.new("RGB", (48, 32))
    data = bytearray(saved(scene(), "WEBP", save_all=True, append_images=[other]))
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "JPEG", "WEBP"])
@pytest.mark.parametrize(("width", "height"), [(20000, 20000), (10000, 10000), (8000, 5001)])
def test_too_many_pixels_are_refused_by_the_header_at_once(
    kind: str, width: int, height: int
) -> None:
    data = claiming(kind, width, height)
    started = time.monotonic()
    error = refusal(data)
    assert time.monotonic() - started < 0.5
    assert error.reason == "TOO_MANY_PIXELS"
    assert f"{width}x{height} pixels; at most 40000000" in error.message


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_short_anywhere_is_refused_or_whole(kind: str) -> None:
    """A few formats end in bytes that no pixel needs; all else is one of two refusals."""
    data = saved(scene(), kind)
    for length in range(1, len(data), 7):
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
    for _ in range(300):
        damaged = bytearray(data)
        for offset in rng.integers(len(data), size=3):
            damaged[offset] = rng.integers(256)
        try:
            picture = decode_picture(bytes(damaged), LIMITS)
        except InvalidImage as error:
            assert "Traceback" not in error.message  # noqa: PT017
        else:
            assert picture.ndim == 3
