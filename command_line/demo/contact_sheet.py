"""Contact sheet of photo, crop, map, reconstruction and answer."""

import io
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from command_line.demo.performance import JPEG_QUALITY, Outcome, Performance, Sight
from command_line.demo.scenario import ENROLLMENTS, Identification, Verification
from shared.codec.compact_map import MapFormat, unpack

_PAPER, _CARD, _INK, _FAINT = "#f4f3ef", "#ffffff", "#1f2328", "#6b7280"
_RIGHT, _WRONG, _BOX = "#1a7f37", "#c62828", "#f5b301"

_FACE = (144, 168)  # 1.5 times the size of a crop
_PHOTO = (216, 168)
_MAP = (168, 168)
_ANSWER_WIDTH = 380
_COLUMNS = (
    ("photo", _PHOTO[0]),
    ("aligned crop", _FACE[0]),
    ("compact map", _MAP[0]),
    ("reconstruction", _FACE[0]),
    ("answer", _ANSWER_WIDTH),
)
_CONTEXT = 2.6  # height of the shown photo part, in heights of the face
_MARGIN, _GAP, _PAD = 36, 24, 14
_ROW = _FACE[1] + 2 * _PAD
_HEADER = 104
_PAIR_FACE = (96, 112)
_PAIR_ROW = _PAIR_FACE[1] + 2 * _PAD
_WIDTH = 2 * _MARGIN + sum(width for _, width in _COLUMNS) + _GAP * (len(_COLUMNS) - 1) + 2 * _PAD


def draw(performance: Performance) -> Image.Image:
    """Draw the sheet: a row per photo, then the verified pairs."""
    pairs = [o for o in performance.outcomes if isinstance(o.asked, Verification)]
    rows = len(performance.sights)
    pairs_top = _HEADER + rows * (_ROW + _GAP)
    height = pairs_top + 36 + math.ceil(len(pairs) / 2) * (_PAIR_ROW + _GAP) + _MARGIN - _GAP
    sheet = Image.new("RGB", (_WIDTH, height), _PAPER)
    _write(sheet, (_MARGIN, 28), "From a photograph to an identity", 26)
    for left, (title, _) in zip(_lefts(), _COLUMNS, strict=True):
        _write(sheet, (left, _HEADER - 26), title, 15, _FAINT)
    for row, sight in enumerate(performance.sights.values()):
        _draw_row(sheet, _HEADER + row * (_ROW + _GAP), sight, performance)
    _write(sheet, (_MARGIN, pairs_top), "Pairs, as the recognizer sees them", 18)
    for number, outcome in enumerate(pairs):
        column, row = number % 2, number // 2
        width = (_WIDTH - 2 * _MARGIN - _GAP) // 2
        corner = (_MARGIN + column * (width + _GAP), pairs_top + 36 + row * (_PAIR_ROW + _GAP))
        _draw_pair(sheet, corner, width, outcome, performance)
    return sheet


def _draw_row(sheet: Image.Image, top: int, sight: Sight, performance: Performance) -> None:
    _card(sheet, (_MARGIN, top, _WIDTH - _MARGIN, top + _ROW))
    pictures = (
        _photo_with_box(sight),
        _open(sight.face.crop_png).resize(_FACE, Image.Resampling.LANCZOS),
        _map_picture(sight.face.map.png, performance.map_format),
        _open(sight.reconstruction).resize(_FACE, Image.Resampling.LANCZOS),
    )
    *places, answer = zip(_lefts(), _COLUMNS, strict=True)
    for picture, (left, _) in zip(pictures, places, strict=True):
        sheet.paste(picture, (left, top + (_ROW - picture.height) // 2))
    _draw_answer(sheet, (answer[0], top + _PAD + 8), sight, performance)


def _draw_answer(
    sheet: Image.Image, corner: tuple[int, int], sight: Sight, performance: Performance
) -> None:
    enrolled = {who.photo: who for who in ENROLLMENTS}.get(sight.photo)
    outcome = _identification_of(sight, performance)
    if enrolled:
        headline, colour, details = f"enrolled: {enrolled.display_name}", _INK, []
    else:
        headline, colour = _name(outcome.actual), _colour(outcome)
        details = [_comparison(outcome)]
        if isinstance(outcome.asked, Identification) and outcome.asked.streamed:
            details.append("streamed by the encoder's uplink")
    details += [
        f"{sight.face.size_bytes} bytes, quality {sight.face.quality:.2f}",
        f"the crop as JPEG at quality {JPEG_QUALITY}: {sight.jpeg_bytes:,} bytes",
    ]
    _write(sheet, corner, headline, 24, colour)
    for line, text in enumerate(details):
        _write(sheet, (corner[0], corner[1] + 44 + 25 * line), text, 16, _FAINT)


def _draw_pair(
    sheet: Image.Image,
    corner: tuple[int, int],
    width: int,
    outcome: Outcome,
    performance: Performance,
) -> None:
    left, top = corner
    _card(sheet, (left, top, left + width, top + _PAIR_ROW))
    assert isinstance(outcome.asked, Verification)
    enrolled = {who.subject_id: who.photo for who in ENROLLMENTS}
    reference = enrolled.get(outcome.asked.reference, outcome.asked.reference)
    for position, photo in enumerate((outcome.asked.photo, reference)):
        face = _open(performance.sights[photo].reconstruction)
        sheet.paste(face, (left + _PAD + position * (_PAIR_FACE[0] + 8), top + _PAD))
    text_left = left + 2 * _PAIR_FACE[0] + 8 + 3 * _PAD
    _write(sheet, (text_left, top + 30), outcome.actual, 24, _colour(outcome))
    _write(sheet, (text_left, top + 70), _comparison(outcome), 16, _FAINT)


def _photo_with_box(sight: Sight) -> Image.Image:
    """The photo, or the part around the face if that would be too small."""
    photo, box = _open(sight.image), sight.face.box
    height = min(photo.height, round(_CONTEXT * box.height))
    width = min(photo.width, round(height * _PHOTO[0] / _PHOTO[1]))
    left = _within(box.x + box.width / 2 - width / 2, photo.width - width)
    top = _within(box.y + box.height / 2 - height / 3, photo.height - height)
    corners = (box.x, box.y, box.x + box.width, box.y + box.height)
    ImageDraw.Draw(photo).rectangle(corners, outline=_BOX, width=max(2, height // 50))
    part = photo.crop((left, top, left + width, top + height))
    part.thumbnail(_PHOTO, Image.Resampling.LANCZOS)
    return part


def _within(start: float, last: int) -> int:
    return max(0, min(round(start), last))


def _map_picture(png: bytes, fmt: MapFormat) -> Image.Image:
    """The symbols as shades: a colour image, or the channels side by side."""
    symbols = unpack(png, fmt)
    shades = np.rint(symbols.astype(np.float32) * (255 / (fmt.levels - 1))).astype(np.uint8)
    if fmt.layout == "rgb8":
        picture = Image.fromarray(np.moveaxis(shades, 0, -1))
        return picture.resize((12 * fmt.width, 12 * fmt.height), Image.Resampling.NEAREST)
    return _tiles(shades)


def _tiles(channels: NDArray[np.uint8]) -> Image.Image:
    """Tile (C, H, W) as C images with gaps."""
    count, height, width = channels.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    between = 3
    scale = min(
        ((_MAP[0] + between) // columns - between) // width,
        ((_MAP[1] + between) // rows - between) // height,
    )
    tile = (width * scale, height * scale)
    size = (columns * (tile[0] + between) - between, rows * (tile[1] + between) - between)
    picture = Image.new("RGB", size, _CARD)
    for number, channel in enumerate(channels):
        row, column = divmod(number, columns)
        corner = (column * (tile[0] + between), row * (tile[1] + between))
        picture.paste(Image.fromarray(channel).resize(tile, Image.Resampling.NEAREST), corner)
    return picture


def _identification_of(sight: Sight, performance: Performance) -> Outcome:
    return next(outcome for outcome in performance.outcomes if outcome.asked.photo == sight.photo)


def _name(actual: str) -> str:
    names = {who.subject_id: who.display_name for who in ENROLLMENTS}
    return names.get(actual, actual)


def _colour(outcome: Outcome) -> str:
    return _RIGHT if outcome.is_right else _WRONG


def _comparison(outcome: Outcome) -> str:
    reached = outcome.similarity >= outcome.threshold.similarity
    sign = "reaches" if reached else "below"
    return f"similarity {outcome.similarity:.3f}, {sign} {outcome.threshold.similarity:.3f}"


def _lefts() -> Iterator[int]:
    left = _MARGIN + _PAD
    for _, width in _COLUMNS:
        yield left
        left += width + _GAP


def _card(sheet: Image.Image, corners: tuple[int, int, int, int]) -> None:
    ImageDraw.Draw(sheet).rounded_rectangle(corners, radius=10, fill=_CARD)


def _write(
    sheet: Image.Image, corner: tuple[int, int], text: str, size: int, colour: str = _INK
) -> None:
    ImageDraw.Draw(sheet).text(corner, text, font=ImageFont.load_default(size), fill=colour)


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")
