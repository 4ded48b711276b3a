"""Contact sheets that show the effect of codecs (the paper's figures 9 and 10)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shared.evaluation.kodak import Shown
from shared.evaluation.names import OURS
from shared.evaluation.sample_faces import SampleFaces
from shared.model_directory import UNCOMPRESSED

_PAPER, _INK, _FAINT = "#f4f3ef", "#1f2328", "#6b7280"
_MARGIN, _GAP = 24, 10
_LABEL_WIDTH = 130
_TITLE_HEIGHT, _CAPTION_HEIGHT = 48, 20
_PART = (192, 256)
"""Height and width of the part of a Kodak image that is shown, at full resolution."""


@dataclass(frozen=True, slots=True)
class _Tile:
    picture: NDArray[np.uint8]
    caption: str


def faces_sheet(rows: Sequence[SampleFaces]) -> Image.Image:
    """A row per form, a column per face, with the bytes of each."""
    tiles = [
        (
            row.form,
            [
                _Tile(crop, f"{size:,} bytes")
                for crop, size in zip(row.crops, row.sizes, strict=True)
            ],
        )
        for row in rows
    ]
    return _grid("The same faces through every codec", tiles)


def kodak_sheet(shown: Sequence[Shown]) -> Image.Image:
    """A row per codec, a column per image, showing the middle of each."""
    originals = [_Tile(_middle(one.original), "24 bits per pixel") for one in shown]
    tiles = [(UNCOMPRESSED, originals)]
    for same in zip(*(one.renditions for one in shown), strict=True):
        label = same[0].operating_point if same[0].codec == OURS else same[0].codec
        captions = [f"{one.bits_per_pixel:.3f} bits per pixel, {one.psnr:.1f} dB" for one in same]
        pictures = [_middle(one.picture) for one in same]
        tiles.append((label, list(map(_Tile, pictures, captions))))
    return _grid("Kodak's pictures through a codec for faces, and others", tiles)


def _middle(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    top, left = ((have - want) // 2 for have, want in zip(picture.shape, _PART, strict=False))
    return picture[max(0, top) :, max(0, left) :][: _PART[0], : _PART[1]]


def _grid(title: str, rows: Sequence[tuple[str, Sequence[_Tile]]]) -> Image.Image:
    height, width, _ = rows[0][1][0].picture.shape
    step_x, step_y = width + _GAP, height + _CAPTION_HEIGHT + _GAP
    columns = len(rows[0][1])
    left, top = _MARGIN + _LABEL_WIDTH, _MARGIN + _TITLE_HEIGHT
    size = (left + columns * step_x - _GAP + _MARGIN, top + len(rows) * step_y - _GAP + _MARGIN)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(16), ImageFont.load_default(12)
    draw.text((_MARGIN, _MARGIN), title, font=ImageFont.load_default(22), fill=_INK)
    for row, (label, tiles) in enumerate(rows):
        y = top + row * step_y
        draw.text((_MARGIN, y + height // 2 - 8), label, font=large, fill=_INK)
        for column, tile in enumerate(tiles):
            x = left + column * step_x
            sheet.paste(Image.fromarray(tile.picture), (x, y))
            draw.text((x, y + height + 2), tile.caption, font=small, fill=_FAINT)
    return sheet
