"""Kodak's photographs through the codec, to show that it works only for faces.

A photograph is cut into tiles of a face crop's size, each encoded as a compact map. The size is
the sum of all files (the paper's figure 9).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shared.codec.compact_map import dequantize, pack, quantize, unpack
from shared.errors import FailedPrecondition
from shared.evaluation.conventional import CODECS, Thumbnail, compress_to
from shared.evaluation.names import OURS
from shared.evaluation.pipeline import Progress, no_progress
from shared.evaluation.rows import KodakRow
from shared.faces.picture import PictureLimits, decode_picture
from shared.inference.networks import load_compnet, load_recnet
from shared.inference.pixels import to_network, to_pixels
from shared.model_directory import ModelDirectory

SHOWN = ("08", "23")
"""Houses and parrots: shown in the report because they contain no people."""

_TILE = (112, 96)
_CPU = torch.device("cpu")
# A thumbnail is defined only for crops.
_BASELINES = tuple(codec for codec in CODECS if not isinstance(codec, Thumbnail))

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""


@dataclass(frozen=True, slots=True)
class Rendition:
    """A compressed image.

    Attributes:
        codec: `compactface` or the name of a conventional codec.
        operating_point: of compactface; otherwise the point whose size was the target.
        picture: (H, W, 3) RGB.
        bits_per_pixel: size of the files per pixel.
        psnr: in dB over all pixels and colours.
    """

    codec: str
    operating_point: str
    picture: Picture
    bits_per_pixel: float
    psnr: float


@dataclass(frozen=True, slots=True)
class Shown:
    """An image to show, (H, W, 3) RGB, with all its renditions."""

    original: Picture
    renditions: list[Rendition]


def evaluate_kodak(
    model: ModelDirectory,
    folder: Path,
    *,
    points: Sequence[str] | None = None,
    progress: Progress = no_progress,
) -> tuple[list[KodakRow], list[Shown]]:
    """Compress every image at operating points, and with conventional codecs at equal size.

    Conventional codecs get the size of the default point.

    Args:
        model: a verified model directory.
        folder: folder of PNG or WebP files.
        points: operating points, the default among them; None: all.
        progress: called after every image.

    Returns:
        Mean results per codec, and the images of SHOWN, or the first if those are missing.

    Raises:
        FailedPrecondition: EVALUATION_DATA_MISSING.
    """
    files = sorted(file for file in folder.glob("*") if file.suffix in {".png", ".webp"})
    if not files:
        raise FailedPrecondition("EVALUATION_DATA_MISSING", f"{folder} holds no PNG or WebP files")
    show = {file for file in files if file.stem in SHOWN} or {files[0]}
    codecs = [_PictureCodec(model, point) for point in points or model.manifest.encodable]
    rendered, shown = [], []
    for done, file in enumerate(files, 1):
        picture = decode_picture(file.read_bytes(), PictureLimits())
        renditions = _render(picture, codecs, model.manifest.default_point)
        rendered.append(renditions)
        if file in show:
            shown.append(Shown(picture, renditions))
        progress(done, len(files))
    return _mean_rows(rendered), shown


def _render(picture: Picture, codecs: list["_PictureCodec"], default: str) -> list[Rendition]:
    ours = [codec.render(picture) for codec in codecs]
    pixels = picture.shape[0] * picture.shape[1]
    (bits,) = (one.bits_per_pixel for one in ours if one.operating_point == default)
    target = round(bits * pixels / 8)
    others = [
        (baseline.name, compress_to(baseline, picture, target, measure="file"))
        for baseline in _BASELINES
    ]
    return ours + [
        _rendition(name, default, picture, other.crop, other.file_bytes) for name, other in others
    ]


def _mean_rows(rendered: list[list[Rendition]]) -> list[KodakRow]:
    return [
        KodakRow(
            codec=same[0].codec,
            operating_point=same[0].operating_point,
            bits_per_pixel=float(np.mean([one.bits_per_pixel for one in same])),
            psnr=float(np.mean([one.psnr for one in same])),
            images=len(same),
        )
        for same in zip(*rendered, strict=True)
    ]


class _PictureCodec:
    """An operating point applied to images of any size."""

    def __init__(self, model: ModelDirectory, point: str) -> None:
        self._point = point
        self._format = model.codec(point).map_format
        self._normalisation = model.manifest.normalisation
        self._compnet = load_compnet(model, point, _CPU)
        self._recnet = load_recnet(model, point, _CPU)

    @torch.inference_mode()
    def render(self, picture: Picture) -> Rendition:
        tiles, fmt = _tiles(picture), self._format
        latents = self._compnet(torch.from_numpy(to_network(tiles, self._normalisation))).numpy()
        maps = [pack(quantize(latent, fmt.levels), fmt) for latent in latents]
        received = dequantize(np.stack([unpack(png, fmt) for png in maps]), fmt)
        seen = to_pixels(self._recnet(torch.from_numpy(received)).numpy(), self._normalisation)
        size = sum(len(png) for png in maps)
        return _rendition(OURS, self._point, picture, _joined(seen, picture.shape), size)


def _tiles(picture: Picture) -> NDArray[np.uint8]:
    """Tile (H, W, 3) as (N, 112, 96, 3), row by row; the last tiles repeat the image's edge."""
    down, right = (-side % tile for side, tile in zip(picture.shape[:2], _TILE, strict=True))
    padded = np.pad(picture, ((0, down), (0, right), (0, 0)), mode="edge")
    rows, columns = (side // tile for side, tile in zip(padded.shape[:2], _TILE, strict=True))
    grid = padded.reshape(rows, _TILE[0], columns, _TILE[1], 3)
    return np.ascontiguousarray(grid.swapaxes(1, 2).reshape(-1, *_TILE, 3))


def _joined(tiles: NDArray[np.uint8], shape: tuple[int, ...]) -> Picture:
    """Join tiles to an image of `shape`."""
    columns = math.ceil(shape[1] / _TILE[1])
    grid = tiles.reshape(-1, columns, *_TILE, 3).swapaxes(1, 2)
    return grid.reshape(-1, columns * _TILE[1], 3)[: shape[0], : shape[1]]


def _rendition(codec: str, point: str, original: Picture, picture: Picture, size: int) -> Rendition:
    error = float(np.mean((original.astype(np.float64) - picture) ** 2))
    return Rendition(
        codec=codec,
        operating_point=point,
        picture=picture,
        bits_per_pixel=8 * size / (original.shape[0] * original.shape[1]),
        psnr=10 * math.log10(255**2 / max(error, 1e-3)),
    )
