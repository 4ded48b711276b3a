"""Picture files from untrusted sources: their formats and metadata, without their pixels."""

import io
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime

from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from shared.errors import InvalidImage
from shared.faces.jpeg_structure import read_structure

try:
    import pi_heif
except ModuleNotFoundError:  # the extra `heic`
    pi_heif = None
else:
    pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
"""Formats that `decode_picture` reads, by Pillow's names; also HEIF if the extra `heic` is
installed. MPO, several JPEGs in one file, counts as JPEG."""

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def capture_time(data: bytes) -> datetime | None:
    """The capture time of a picture, from its EXIF time and UTC offset.

    Returns:
        UTC; None if the file states no time or no offset.
    """
    try:
        with open_picture(data) as image:
            exif = _exif(image)
            times = exif.get_ifd(ExifTags.IFD.Exif)
        taken = _text(times[ExifTags.Base.DateTimeOriginal])
        offset = _text(times[ExifTags.Base.OffsetTimeOriginal])
        return datetime.strptime(f"{taken} {offset}", "%Y:%m:%d %H:%M:%S %z").astimezone(UTC)
    except Exception:  # noqa: BLE001 - not a picture, no EXIF, or damaged
        return None


def open_picture(data: bytes) -> ImageFile.ImageFile:
    """Read the header of a picture.

    Raises:
        InvalidImage: HEIC_NOT_INSTALLED or NOT_AN_IMAGE.
    """
    try:
        return Image.open(io.BytesIO(data), formats=(*FORMATS, "HEIF") if pi_heif else FORMATS)
    except UnidentifiedImageError:
        if pi_heif is None and data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
            raise InvalidImage(
                "HEIC_NOT_INSTALLED",
                "picture is HEIC, which this installation does not read; "
                "install it: pip install 'compactface[heic]'",
            ) from None
        formats = ", ".join((*FORMATS, "HEIC"))
        raise InvalidImage(
            "NOT_AN_IMAGE", f"{len(data)} bytes are not a picture in a supported format: {formats}"
        ) from None
    except Exception:  # noqa: BLE001
        raise InvalidImage("NOT_AN_IMAGE", "header of the picture is damaged") from None


def has_colour_of_16_bits(image: ImageFile.ImageFile) -> bool:
    """Whether a TIFF or PNG in colour has 16 bits a sample, which Pillow would drop."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        depths = image.tag_v2.get(ExifTags.Base.BitsPerSample, ())
        return len(depths) > 1 and set(depths) == {16}
    raw = image.tile[0].args if image.format == "PNG" and image.tile else ""
    return isinstance(raw, str) and raw.endswith(";16B") and not image.mode.startswith("I")


def _exif(image: ImageFile.ImageFile) -> Image.Exif:
    """The EXIF data, without decoding pixels that precede it."""
    if image.format != "PNG" or "exif" in image.info or not image.tile:
        return image.getexif()
    return Image.Exif()


def orientation(image: ImageFile.ImageFile) -> int:
    """The EXIF orientation, 1 if there is none."""
    try:
        orientation = _exif(image).get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - damaged metadata does not invalidate a picture
        return 1
    return orientation if isinstance(orientation, int) else 1


def _text(value: object) -> str:
    return str(value).strip("\0 ")


def without_metadata(data: bytes) -> bytes:
    """Remove metadata from a PNG or JPEG; other files are returned unchanged."""
    if data.startswith(b"\xff\xd8"):
        start, kept = 0, []
        for begin, end in read_structure(data).metadata:
            kept.append(data[start:begin])
            start = end
        return b"".join([*kept, data[start:]])
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data[:8] + b"".join(_needed_chunks(data))
    return data


def _needed_chunks(data: bytes) -> Iterator[memoryview]:
    """Critical chunks (capitalized names), and transparency and EXIF if valid."""
    view = memoryview(data)
    offset = 8
    while offset + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, offset)
        chunk = view[offset : offset + 12 + length]
        offset += len(chunk)
        checked = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if name[:1].isupper() or (name in {b"tRNS", b"eXIf"} and checked):
            yield chunk
