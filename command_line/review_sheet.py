"""A contact sheet of doubtful pairs for review by a person."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from command_line.photo_review import DoubtfulPair, ReviewedFace
from command_line.photos import read_photo
from shared.errors import InvalidImage
from shared.faces.picture import PictureLimits, decode_photo

MAX_PAIRS = 100
_PAPER, _INK, _FAINT, _EMPTY = "#f4f3ef", "#1f2328", "#6b7280", "#d8d6cf"
_FACE, _GAP, _TEXT = 144, 16, 640
_CONTEXT = 1.6
"""Height of the shown picture part, in heights of the face's box."""


def write_sheet(pairs: Sequence[DoubtfulPair], folder: Path, path: Path) -> None:
    """Draw the first hundred pairs into a private file.

    Args:
        pairs: at least one.
        folder: folder that photo names are relative to.
        path: an image file; its suffix determines the format.

    Raises:
        OSError: the file cannot be written.
    """
    shown = pairs[:MAX_PAIRS]
    width, row = 2 * (_FACE + _GAP) + _GAP + _TEXT, _FACE + _GAP
    sheet = Image.new("RGB", (width, len(shown) * row + _GAP), _PAPER)
    for number, pair in enumerate(shown):
        top = _GAP + number * row
        for column, face in enumerate((pair.first, pair.second)):
            sheet.paste(_picture(face), (_GAP + column * (_FACE + _GAP), top))
        _write(sheet, (2 * (_FACE + _GAP) + _GAP, top), pair, folder)
    content = io.BytesIO()
    sheet.save(content, Image.registered_extensions()[path.suffix.lower()])
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(file, "wb") as opened:  # noqa: PTH123 - a file descriptor
        os.fchmod(file, 0o600)  # also if the file existed
        opened.write(content.getvalue())


def _picture(face: ReviewedFace) -> Image.Image:
    """The face in its photo, or gray if it is not from this import."""
    empty = Image.new("RGB", (_FACE, _FACE), _EMPTY)
    if face.taken is None:
        return empty
    try:
        photo = decode_photo(read_photo(face.taken.photo), PictureLimits(max_bytes=1 << 40))
    except (InvalidImage, OSError):  # changed since, or in a format that only the service reads
        return empty
    box, scale = face.taken.face.box, photo.reduction
    side = round(_CONTEXT * max(box.width, box.height) / scale)
    left = round((box.x + box.width / 2) / scale - side / 2)
    top = round((box.y + box.height / 2) / scale - side / 2)
    part = Image.fromarray(photo.pixels).crop((left, top, left + side, top + side))
    return ImageOps.fit(part, (_FACE, _FACE), Image.Resampling.LANCZOS)


def _write(sheet: Image.Image, corner: tuple[int, int], pair: DoubtfulPair, folder: Path) -> None:
    left, top = corner
    draw = ImageDraw.Draw(sheet)
    what = "two subjects look alike" if pair.alike else "one subject, two faces"
    lines = [
        (what, 20, _INK),
        (f"similarity {pair.similarity:.3f}, threshold {pair.threshold:.3f}", 16, _FAINT),
        (pair.first.text(folder), 16, _INK),
        (pair.second.text(folder), 16, _INK),
    ]
    for number, (text, size, colour) in enumerate(lines):
        font = ImageFont.load_default(size)
        draw.text((left, top + 8 + 34 * number), text, font=font, fill=colour)
