"""Pictures from outside: whatever cameras, telephones and archives send, as upright RGB pixels."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from shared.errors import InvalidImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""What `decode_picture` reads, by Pillow's names. MPO, several JPEGs in one file, is a JPEG."""

MIN_PHOTO_SIDE = 20
"""No face can be found in a photo with a side of fewer pixels."""

# Our own limit is checked on every picture and lower, so Pillow need not guess one and warn.
Image.MAX_IMAGE_PIXELS = None

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what makes the picture upright."""

_TRANSPARENT_MODES = {"RGBA", "LA", "PA"}
_DIRECT_MODES = {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"}


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """What a picture may cost.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width times height as its header claims; each takes 3 bytes once decoded.
    """

    max_bytes: int = 8 * 1024 * 1024
    max_pixels: int = 40_000_000


def decode_picture(data: bytes, limits: PictureLimits) -> NDArray[np.uint8]:
    """The picture in a file, upright, in colour, as a person would see it.

    EXIF orientation is applied; 16-bit gray is scaled by its full range; what is transparent
    shows white, as in a document; of an animation or a stack the first picture is taken; colour
    profiles are ignored.

    Args:
        data: a JPEG, PNG, WebP, BMP or TIFF file.
        limits: refuse more than this. The pixels are counted before any is decoded.

    Returns:
        (H, W, 3) uint8 RGB, at least 1x1.

    Raises:
        InvalidImage: EMPTY_IMAGE, IMAGE_TOO_LARGE, NOT_AN_IMAGE, TOO_MANY_PIXELS,
            IMAGE_TRUNCATED (cut short or damaged) or PIXELS_NOT_SUPPORTED (32 bits a sample,
            or a colour space that is not RGB, gray, CMYK or YCbCr).
    """
    if not data:
        raise InvalidImage("EMPTY_IMAGE", "picture is empty")
    if len(data) > limits.max_bytes:
        raise InvalidImage(
            "IMAGE_TOO_LARGE",
            f"picture is {len(data)} bytes; at most {limits.max_bytes} are accepted",
        )
    with _open(data) as image:
        if image.width * image.height > limits.max_pixels:
            raise InvalidImage(
                "TOO_MANY_PIXELS",
                f"picture is {image.width}x{image.height} pixels; "
                f"at most {limits.max_pixels} in all are accepted",
            )
        _load(image)
        return _rgb(_upright(image))


def require_photo_size(picture: NDArray[np.uint8]) -> None:
    """Refuse a picture (H, W, 3) too small to look for faces in.

    Raises:
        InvalidImage: IMAGE_TOO_SMALL.
    """
    height, width = picture.shape[:2]
    if min(height, width) < MIN_PHOTO_SIDE:
        raise InvalidImage(
            "IMAGE_TOO_SMALL",
            f"picture is {width}x{height} pixels; each side must have at least {MIN_PHOTO_SIDE}",
        )


# Pillow's plugins raise whatever a damaged file makes them stumble over, so any exception of
# theirs speaks of the file. Their messages stay here.


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        raise InvalidImage(
            "NOT_AN_IMAGE", f"{len(data)} bytes are no picture that is understood: {formats}"
        ) from None
    except Exception:  # noqa: BLE001
        raise InvalidImage("NOT_AN_IMAGE", "header of the picture is damaged") from None


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception:  # noqa: BLE001
        raise InvalidImage("IMAGE_TRUNCATED", "picture is cut short or damaged") from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - damaged metadata does not spoil a sound picture
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        return _rgb_of_gray16(np.asarray(image))
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        overlay = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, overlay)
    elif image.mode not in _DIRECT_MODES:
        raise InvalidImage(
            "PIXELS_NOT_SUPPORTED",
            f"pixels of mode {image.mode}; RGB, gray, CMYK and YCbCr of 8 bits and gray of 16 "
            "bits are accepted",
        )
    return np.array(image.convert("RGB"))


def _rgb_of_gray16(gray: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """0 to 65535 onto 0 to 255: 257 is exactly 65535 / 255."""
    gray8 = ((gray.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(gray8[..., np.newaxis], 3, axis=2)
