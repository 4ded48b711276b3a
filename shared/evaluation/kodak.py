"""Kodak's photographs through the codec, to show that it works only for faces.

A photograph is cut into tiles of a face crop's size, each encoded as a compact map. The size is
the sum of all files (the paper's figure 9).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from shared.codec.compact_map import dequantize, pack, quantize, unpack
from shared.errors import FailedPrecondition
from shared.evaluation.cache import NO_CACHE, Arrays, Cache, pixels_digest
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
    cache: Cache = NO_CACHE,
    progress: Progress = no_progress,
) -> tuple[list[KodakRow], list[Shown]]:
    """Compress every image at operating points, and with conventional codecs at equal size.

    Conventional codecs get the size of the default point.

    Args:
        model: a verified model directory.
        folder: folder of PNG or WebP files.
        points: operating points, the default among them; None: all that have a CompNet.
        cache: keeps what images were compressed to.
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
    default = model.manifest.default_point
    key: dict[str, JsonValue] = {
        "software": version("compactface"),
        "kodak": [codec.codec_id for codec in codecs],
        "default": default,
    }
    names = [
        *((OURS, codec.point) for codec in codecs),
        *((baseline.name, default) for baseline in _BASELINES),
    ]
    rendered, shown = [], []
    for done, file in enumerate(files, 1):
        picture = decode_picture(file.read_bytes(), PictureLimits())
        kept = cache.arrays(
            {**key, "picture": pixels_digest(picture)},
            partial(_compressed, picture, codecs, default),
        )
        renditions = [
            _rendition(*name, picture, seen, int(size))
            for name, seen, size in zip(names, kept["pictures"], kept["sizes"], strict=True)
        ]
        rendered.append(renditions)
        if file in show:
            shown.append(Shown(picture, renditions))
        progress(done, len(files))
    return _mean_rows(rendered), shown


def _compressed(picture: Picture, codecs: Sequence["_PictureCodec"], default: str) -> Arrays:
    """The image, and the bytes, after each operating point and each conventional codec."""
    ours = {codec.point: codec.compress(picture) for codec in codecs}
    _, target = ours[default]
    others = [compress_to(baseline, picture, target, measure="file") for baseline in _BASELINES]
    seen = [*ours.values(), *((other.crop, other.file_bytes) for other in others)]
    pictures, sizes = zip(*seen, strict=True)
    return {"pictures": np.stack(pictures), "sizes": np.array(sizes)}


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
        self.point = point
        self.codec_id = model.codec(point).codec_id
        self._format = model.codec(point).map_format
        self._normalisation = model.manifest.normalisation
        self._compnet = load_compnet(model, point, _CPU)
        self._recnet = load_recnet(model, point, _CPU)

    @torch.inference_mode()
    def compress(self, picture: Picture) -> tuple[Picture, int]:
        """The image after encoding and decoding, and the bytes in between."""
        tiles, fmt = _tiles(picture), self._format
        latents = self._compnet(torch.from_numpy(to_network(tiles, self._normalisation))).numpy()
        maps = [pack(quantize(latent, fmt.levels), fmt) for latent in latents]
        received = dequantize(np.stack([unpack(png, fmt) for png in maps]), fmt)
        seen = to_pixels(self._recnet(torch.from_numpy(received)).numpy(), self._normalisation)
        return _joined(seen, picture.shape), sum(len(png) for png in maps)


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
