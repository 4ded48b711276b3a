"""JPEG compression loss on batches of tensors, on any device.

Baseline JPEG with the tables of annex K of ITU-T T.81 and 4:2:0 chroma. Entropy coding is
lossless and therefore left out.
"""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

# The tables of annex K, for luminance and chrominance.
_LUMINANCE = """
    16 11 10 16  24  40  51  61   12 12 14 19  26  58  60  55
    14 13 16 24  40  57  69  56   14 17 22 29  51  87  80  62
    18 22 37 56  68 109 103  77   24 35 55 64  81 104 113  92
    49 64 78 87 103 121 120 101   72 92 95 98 112 100 103  99"""
_CHROMINANCE = (
    """
    17 18 24 47 99 99 99 99   18 21 26 66 99 99 99 99   24 26 56 99 99 99 99 99
    47 66 99 99 99 99 99 99"""
    + " 99" * 32
)


def jpeg(pictures: Tensor, quality: Tensor) -> Tensor:
    """Compress and decompress images with JPEG.

    Args:
        pictures: (N, 3, H, W) RGB in [-1, 1]; H and W are multiples of 16.
        quality: (N,) 1 to 100, on the Independent JPEG Group's scale.

    Returns:
        (N, 3, H, W) in [-1, 1], in the 256 levels of a byte.
    """
    levels = ((pictures.clamp(-1, 1) + 1) * 127.5).round()
    red, green, blue = levels.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = torch.stack([(blue - luma) / 1.772, (red - luma) / 1.402], 1)
    luma = _coded(luma[:, None] - 128, _tables(_LUMINANCE, quality)) + 128
    half = _coded(functional.avg_pool2d(chroma, 2).round(), _tables(_CHROMINANCE, quality))
    blue_less, red_less = functional.interpolate(
        half, scale_factor=2.0, mode="bilinear", align_corners=False
    ).unbind(1)
    luma = luma[:, 0]
    rgb = torch.stack(
        [
            luma + 1.402 * red_less,
            luma - (0.299 * 1.402 * red_less + 0.114 * 1.772 * blue_less) / 0.587,
            luma + 1.772 * blue_less,
        ],
        1,
    )
    return rgb.round().clamp(0, 255) / 127.5 - 1


def _tables(text: str, quality: Tensor) -> Tensor:
    """Quantization tables (N, 1, 1, 8, 1, 8)."""
    table = torch.tensor([*map(float, text.split())], device=quality.device).view(8, 1, 8)
    q = quality.float()[:, None, None, None, None, None]
    scale = torch.where(q < 50, (5000 / q).floor(), 200 - 2 * q)
    return ((table * scale + 50) / 100).floor().clamp(1, 255)


def _coded(plane: Tensor, tables: Tensor) -> Tensor:
    """(N, C, H, W) around 0, with DCT coefficients rounded to multiples of the tables."""
    n, c, height, width = plane.shape
    cosines = _cosines(plane.device)
    blocks = plane.view(n, c, height // 8, 8, width // 8, 8)
    coefficients = torch.einsum("ui,ncaibj,vj->ncaubv", cosines, blocks, cosines)
    kept = (coefficients / tables).round() * tables
    back = torch.einsum("ui,ncaubv,vj->ncaibj", cosines, kept, cosines)
    return back.round().reshape(n, c, height, width)


@cache
def _cosines(device: torch.device) -> Tensor:
    """The orthonormal 8x8 DCT matrix."""
    i = torch.arange(8, device=device)
    matrix = torch.cos(math.pi / 8 * (i[None] + 0.5) * i[:, None]) / 2
    matrix[0] /= math.sqrt(2)
    return matrix
