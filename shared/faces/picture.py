"""Decode pictures from untrusted sources to upright RGB pixels."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from shared.errors import InvalidImage
from shared.faces.apart import decode_apart
from shared.faces.jpeg_structure import JpegStructure, read_structure
from shared.faces.picture_file import (
    has_colour_of_16_bits,
    open_picture,
    orientation,
    without_metadata,
)
from shared.faces.pixels import Samples, reduced, rgb_of_image, rgb_of_samples

MIN_PHOTO_SIDE = 20
"""Photos with a shorter side contain no detectable face."""

# `decode_photo` checks a lower limit on every picture, so Pillow's own check is disabled.
Image.MAX_IMAGE_PIXELS = None

_MAX_PIXELS_IN_FULL = 25_000_000
_REDUCTIONS = (1, 2, 4, 8)
_MAX_SCANNED = 2_000_000_000
"""Limit of pixels times scans of a JPEG: even a scan of a few bytes visits every pixel."""
_BYTES_PER_PIXEL = {"AVIF": 11.5, "HEIF": 9.5, "WEBP": 17.5, "TIFF": 12.0}
"""Peak memory per pixel while Pillow decodes 8-bit samples; measured."""
_BYTES_PER_PIXEL_OF_MODE = {"1": 1, "L": 1, "P": 1, "I;16": 8, "I;16B": 8, "I;16L": 8}
_NANOSECONDS_PER_PIXEL = {"JPEG": 16, "GIF": 20, "BMP": 5, "TIFF": 40}
"""Of one core's time; measured."""
_NANOSECONDS_AT_MOST = 60  # PNG, WebP, HEIF
_NANOSECONDS_PER_SCAN = 3.5
_MAX_SECONDS_HERE = 1.0
"""What would take longer is decoded in a process of its own, which can be stopped."""
_SAMPLES_OF_16_BITS = 13.0
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Of bytes, as the last letter of Pillow's raw modes: big, little and native."""
_BAND_ROWS = 256
_RESULT = 9
"""Bytes per pixel of the result, including copies made by rotation and comparison."""
_PADDING = bytes.fromhex("5aa533cc") * 64

_Pixels = NDArray[np.uint8]
_TURNS: dict[int, Callable[[_Pixels], _Pixels]] = {
    2: lambda picture: picture[:, ::-1],
    3: lambda picture: picture[::-1, ::-1],
    4: lambda picture: picture[::-1],
    5: lambda picture: picture.transpose(1, 0, 2),
    6: lambda picture: np.rot90(picture, -1),
    7: lambda picture: picture.transpose(1, 0, 2)[::-1, ::-1],
    8: np.rot90,
}
"""Transposition by EXIF orientation."""


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """Limits on pictures.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width times height in its header.
        max_memory: memory for decoding, in bytes; the stricter limit for formats that cannot be
            decoded at reduced size.
        max_seconds: time of a core that decoding it may take.
    """

    max_bytes: int = 15 * 1024 * 1024
    max_pixels: int = 120_000_000
    max_memory: int = 640 * 1024 * 1024
    max_seconds: float = 10


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded picture.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, at least 1x1, upright.
        reduction: factor by which each side of the file was reduced: 1, 2, 4 or 8.
    """

    pixels: NDArray[np.uint8]
    reduction: int


def decode_picture(data: bytes, limits: PictureLimits) -> NDArray[np.uint8]:
    """Like `decode_photo`, but returns only the pixels."""
    return decode_photo(data, limits).pixels


def decode_photo(data: bytes, limits: PictureLimits, *, patience_s: float | None = None) -> Photo:
    """The picture in a file, upright, in colour, as a person would see it.

    Applies the orientation. 16-bit samples are scaled by the bits in use; transparency is drawn on
    white; the first picture of an animation or stack is used; colour profiles are ignored.
    Pictures above 25 megapixels are reduced to a half, a quarter or an eighth of their size.
    Damaged or large metadata is skipped.

    Args:
        data: a JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF file.
        limits: refuse more than this, if the header tells before any pixel is decoded.
        patience_s: give up a picture that takes long after this time on the clock; None: never.

    Raises:
        InvalidImage: EMPTY_IMAGE, IMAGE_TOO_LARGE, NOT_AN_IMAGE, TOO_MANY_PIXELS, TOO_MANY_SCANS,
            IMAGE_TRUNCATED (cut short or damaged), DECODING_TOO_SLOW, HEIC_NOT_INSTALLED (the
            message says how to install it) or PIXELS_NOT_SUPPORTED (32 bits a sample, or a colour
            space that is not RGB, gray, CMYK or YCbCr).
    """
    if not data:
        raise InvalidImage("EMPTY_IMAGE", "picture is empty")
    if len(data) > limits.max_bytes:
        raise InvalidImage(
            "IMAGE_TOO_LARGE",
            f"picture is {len(data)} bytes; at most {limits.max_bytes} are accepted",
        )
    try:
        return _decode(data, limits, patience_s)
    except InvalidImage as error:
        bare = without_metadata(data)
        if error.reason not in {"NOT_AN_IMAGE", "IMAGE_TRUNCATED"} or len(bare) == len(data):
            raise
    return _decode(bare, limits, patience_s)


def require_photo_size(picture: NDArray[np.uint8]) -> None:
    """Reject a picture (H, W, 3) that is too small for detection.

    Raises:
        InvalidImage: IMAGE_TOO_SMALL.
    """
    height, width = picture.shape[:2]
    if min(height, width) < MIN_PHOTO_SIDE:
        raise InvalidImage(
            "IMAGE_TOO_SMALL",
            f"picture is {width}x{height} pixels; each side must have at least {MIN_PHOTO_SIDE}",
        )


def decode_here(data: bytes) -> tuple[NDArray[np.uint8], int]:
    """The picture in a file and its reduction, within the process that limits what it costs."""
    photo = _decode(data)
    return photo.pixels, photo.reduction


def _decode(
    data: bytes, limits: PictureLimits | None = None, patience_s: float | None = None
) -> Photo:
    """Without limits: here, whatever it costs."""
    jpeg = read_structure(data) if data.startswith(b"\xff\xd8") else None
    with open_picture(data) as image:
        pixels = image.width * image.height
        if limits and pixels > limits.max_pixels:
            raise InvalidImage(
                "TOO_MANY_PIXELS",
                f"picture is {image.width}x{image.height} pixels; "
                f"at most {limits.max_pixels} in all are accepted",
            )
        reduction = next(
            (by for by in _REDUCTIONS if pixels <= _MAX_PIXELS_IN_FULL * by**2), _REDUCTIONS[-1]
        )
        if limits:
            _check_cost(image, jpeg, reduction, limits)
            if image.format == "AVIF" or _seconds(image, jpeg) > _MAX_SECONDS_HERE:
                return _decoded_apart(data, image, reduction, limits, patience_s)
        picture = _pixels(data, image, jpeg, reduction)
        # Only now: the EXIF of a PNG may follow its pixels, and a TIFF is turned as it is loaded.
        turn = _TURNS.get(orientation(image))
    upright = picture if turn is None else np.ascontiguousarray(turn(picture))
    return Photo(upright, reduction)


def _decoded_apart(
    data: bytes,
    image: ImageFile.ImageFile,
    reduction: int,
    limits: PictureLimits,
    patience_s: float | None,
) -> Photo:
    width, height = (reduced(side, reduction) for side in image.size)
    found = decode_apart(
        data,
        max_pixels=width * height,
        max_memory=limits.max_memory,
        max_seconds=limits.max_seconds,
        patience_s=patience_s,
    )
    if found is None:
        raise _truncated()
    return Photo(*found)


def _seconds(image: ImageFile.ImageFile, jpeg: JpegStructure | None) -> float:
    """What decoding takes of a core of these days, by the header; a rough estimate."""
    each: float = _NANOSECONDS_PER_PIXEL.get(image.format or "", _NANOSECONDS_AT_MOST)
    if jpeg:
        each = _NANOSECONDS_PER_PIXEL["JPEG"] + _NANOSECONDS_PER_SCAN * jpeg.scans
    return each * image.width * image.height / 1e9


def _check_cost(
    image: ImageFile.ImageFile, jpeg: JpegStructure | None, reduction: int, limits: PictureLimits
) -> None:
    pixels = image.width * image.height
    if jpeg and jpeg.scans * pixels > _MAX_SCANNED:
        raise InvalidImage(
            "TOO_MANY_SCANS",
            f"picture of {image.width}x{image.height} pixels has {jpeg.scans} scans; "
            f"at most {_MAX_SCANNED // pixels} are accepted",
        )
    try:
        decoding = _decoder_bytes(image, jpeg, reduction)
    except Exception:  # noqa: BLE001 - tags of unexpected types
        raise InvalidImage("NOT_AN_IMAGE", "header of the picture is damaged") from None
    needed = round(decoding + _RESULT * pixels / reduction**2)
    if needed > limits.max_memory:
        raise InvalidImage(
            "TOO_MANY_PIXELS",
            f"picture is {image.width}x{image.height} pixels, which take {needed} bytes of memory "
            f"to decode from {image.format}; at most {limits.max_memory} are accepted",
        )


def _decoder_bytes(image: ImageFile.ImageFile, jpeg: JpegStructure | None, reduction: int) -> float:
    """Peak memory of the decoder; see `_BYTES_PER_PIXEL`."""
    pixels = image.width * image.height
    of_mode = _BYTES_PER_PIXEL_OF_MODE.get(image.mode, 4)
    if jpeg:
        kept = 2 * jpeg.samples_per_pixel if jpeg.buffered else 0
        return pixels * (kept + of_mode / reduction**2)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tile: int = image.tag_v2.get(322, 0) * image.tag_v2.get(323, 0)
        fine = _SAMPLES_OF_16_BITS if has_colour_of_16_bits(image) else 0
        return max(pixels, tile) * max(_BYTES_PER_PIXEL["TIFF"], fine)
    if has_colour_of_16_bits(image):
        return pixels * _SAMPLES_OF_16_BITS
    return pixels * max(_BYTES_PER_PIXEL.get(image.format or "", 0), of_mode)


def _pixels(
    data: bytes,
    image: ImageFile.ImageFile,
    jpeg: JpegStructure | None,
    reduction: int,
) -> NDArray[np.uint8]:
    if jpeg:
        return _pixels_of_jpeg(data, image, jpeg, reduction)
    if has_colour_of_16_bits(image):
        return rgb_of_samples(_samples(image, data), reduction)
    _load(image)
    return rgb_of_image(image, reduction)


def _pixels_of_jpeg(
    data: bytes, image: ImageFile.ImageFile, jpeg: JpegStructure, reduction: int
) -> NDArray[np.uint8]:
    """Decode a JPEG; without an end marker, it is whole if no pixel depends on missing data."""
    if jpeg.ended:
        return _drafted(image, reduction)
    if not jpeg.complete:
        raise _truncated()
    data = data.rstrip(b"\xff")  # the first byte of a missing marker
    with (
        open_picture(data + b"\xff\xd9") as ended,
        open_picture(data + _PADDING + b"\xff\xd9") as padded,
    ):
        picture = _drafted(ended, reduction)
        if not np.array_equal(picture, _drafted(padded, reduction)):
            raise _truncated()
    return picture


def _drafted(image: ImageFile.ImageFile, reduction: int) -> NDArray[np.uint8]:
    width, height = image.size
    if reduction > 1:
        image.draft(None, (width // reduction, height // reduction))
        if image.size != (reduced(width, reduction), reduced(height, reduction)):
            raise _truncated()
    _load(image)
    return rgb_of_image(image, 1)


# Decoders raise arbitrary exceptions on damaged files, so every exception is blamed on the file.
# Their messages are not forwarded.


def _load(image: ImageFile.ImageFile) -> None:
    try:
        image.load()
    except Exception:  # noqa: BLE001
        raise _truncated() from None


def _samples(image: ImageFile.ImageFile, data: bytes) -> Samples:
    """All bits of colours of 16 bits, (H, W, 3 or 4).

    Pillow keeps the upper byte of each sample. Told the wrong order of bytes, it keeps the lower.
    """
    _load(image)
    samples = np.zeros((image.height, image.width, len(image.getbands())), np.uint16)
    _add_to(samples, image, shift=8)
    image.im = None  # type: ignore[assignment] # frees memory
    with open_picture(data) as again:
        again.tile = [tile._replace(args=_swapped(tile.args)) for tile in again.tile]
        _load(again)
        _add_to(samples, again, shift=0)
    return samples


def _add_to(samples: NDArray[np.uint16], image: ImageFile.ImageFile, *, shift: int) -> None:
    for top in range(0, image.height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, image.height)
        band = np.asarray(image.crop((0, top, image.width, bottom)), np.uint16)
        samples[top:bottom] |= band << shift


def _swapped(args: Any) -> Any:
    """A decoder's arguments, with the other order of bytes."""
    raw, *rest = (args,) if isinstance(args, str) else args
    other = f"{raw[:-1]}{_OTHER_ORDER[raw[-1]]}"
    return (other, *rest) if rest else other


def _truncated() -> InvalidImage:
    return InvalidImage("IMAGE_TRUNCATED", "picture is truncated or damaged")
