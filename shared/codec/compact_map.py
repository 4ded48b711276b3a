"""Quantize CompNet's output to symbols and pack the symbols into a PNG file.

Equation 1 of the paper maps each value x in [-1, 1] to a symbol q = round((x + 1)(L - 1) / 2) in
[0, L-1]. The inverse is x = 2q / (L - 1) - 1. The PNG samples are the symbols themselves, in one
of two layouts:

``rgb8``
    The paper's layout: channels 0, 1, 2 are the red, green and blue of a height x width image
    with 8 bits per sample.
``row``
    A single row of gray samples, with the fewest bits (1, 2, 4 or 8) that hold L levels. Channels
    follow each other; each is stored row by row, left to right. The symbol of channel c at (y, x)
    is sample (c * height + y) * width + x. The file has a single filter byte. A format may omit
    symbols at the end; readers take them as 0. A small map can thus be the prefix of a large one.

PNG viewers scale gray to eight bits: Pillow shows two-bit symbols 0..3 as 0, 85, 170, 255 and
multiplies four-bit symbols by 17. `unpack` returns the symbols.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.codec.png import GRAY, RGB, Geometry, write
from shared.codec.png_reader import MAX_PNG_BYTES, read
from shared.errors import InvalidCompactMap

Layout = Literal["rgb8", "row"]
"""How the symbols are laid out in the PNG; see the module docstring."""

_RGB_CHANNELS = 3
_MAX_LEVELS = 256


@dataclass(frozen=True, slots=True)
class MapFormat:
    """The shape of a codec's maps and their layout in the PNG file.

    Attributes:
        channels: C, at least 1; 3 for `rgb8`.
        height: rows per channel.
        width: columns per channel.
        levels: L, 2 to 256; symbols are 0 to L-1.
        layout: `rgb8` or `row`.
        spared: number of symbols omitted at the end; 0 for `rgb8`.

    Raises:
        ValueError: a value is out of range, or maps could exceed 4096 bytes.
    """

    channels: int
    height: int
    width: int
    levels: int
    layout: Layout
    spared: int = 0

    def __post_init__(self) -> None:
        """Reject formats that no map can have."""
        if self.layout not in {"rgb8", "row"}:
            raise ValueError(f"layout {self.layout!r} is neither rgb8 nor row")
        if min(self.channels, self.height, self.width) < 1:
            raise ValueError(f"map of {self.shape} symbols; every side must be at least 1")
        if not 2 <= self.levels <= _MAX_LEVELS:  # noqa: PLR2004 - fewer carry no information
            raise ValueError(f"{self.levels} levels; 2 to {_MAX_LEVELS} fit into a sample")
        if self.layout == "rgb8" and self.channels != _RGB_CHANNELS:
            raise ValueError(f"{self.channels} channels; layout rgb8 has {_RGB_CHANNELS}")
        limit = 0 if self.layout == "rgb8" else math.prod(self.shape) - 1
        if not 0 <= self.spared <= limit:
            raise ValueError(f"{self.spared} symbols spared; 0 to {limit} can be")
        largest = self.geometry.largest_file_bytes
        if largest > MAX_PNG_BYTES:
            raise ValueError(f"maps of up to {largest} bytes; at most {MAX_PNG_BYTES} are allowed")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def sent(self) -> int:
        """Number of symbols in a map, the first ones of CompNet's output."""
        return math.prod(self.shape) - self.spared

    @property
    def bit_depth(self) -> int:
        """Bits per PNG sample: 1, 2, 4 or 8."""
        if self.layout == "rgb8":
            return 8
        return next(bits for bits in (1, 2, 4, 8) if self.levels <= 1 << bits)

    @property
    def geometry(self) -> Geometry:
        """The PNG header of every map of this format."""
        if self.layout == "rgb8":
            return Geometry(self.width, self.height, self.bit_depth, RGB)
        return Geometry(self.sent, 1, self.bit_depth, GRAY)


def quantize(latent: NDArray[np.float32], levels: int) -> NDArray[np.uint8]:
    """Quantize CompNet's output by equation 1, rounding halves to even.

    Args:
        latent: (..., C, H, W) in [-1, 1]; values slightly outside are clipped.
        levels: L, 2 to 256.

    Returns:
        Symbols (..., C, H, W) in [0, L-1].

    Raises:
        ValueError: a value is not finite.
    """
    if not np.isfinite(latent).all():
        raise ValueError("latent has values that are not finite")
    rounded = np.rint((latent + np.float32(1)) * np.float32((levels - 1) / 2))
    symbols: NDArray[np.uint8] = rounded.clip(0, levels - 1).astype(np.uint8)
    return symbols


def dequantize(symbols: NDArray[np.uint8], fmt: MapFormat) -> NDArray[np.float32]:
    """Invert equation 1: symbols (..., C, H, W) to float32 in [-1, 1]; omitted symbols become 0."""
    latent = symbols.astype(np.float32) / np.float32((fmt.levels - 1) / 2) - np.float32(1)
    size = math.prod(fmt.shape)
    latent.reshape(-1, size)[:, size - fmt.spared :] = 0
    return latent


def pack(symbols: NDArray[np.uint8], fmt: MapFormat) -> bytes:
    """Pack symbols into the smallest PNG file found.

    Args:
        symbols: (C, H, W) in [0, L-1].
        fmt: format of the codec.

    Raises:
        ValueError: the shape does not match the format, or a symbol is above L-1.
    """
    if symbols.shape != fmt.shape:
        raise ValueError(f"symbols have shape {symbols.shape}; the format has {fmt.shape}")
    if symbols.max() >= fmt.levels:
        raise ValueError(f"symbol {symbols.max()}; the largest is {fmt.levels - 1}")
    samples = symbols.transpose(1, 2, 0) if fmt.layout == "rgb8" else symbols
    sent = samples.reshape(-1)[: samples.size - fmt.spared]
    rows = sent.reshape(fmt.geometry.height, fmt.geometry.row_samples)
    return write(_join_bits(rows, fmt.bit_depth), fmt.geometry)


def unpack(png: bytes, fmt: MapFormat) -> NDArray[np.uint8]:
    """Read the symbols (C, H, W) of a map, which must match the format exactly.

    Raises:
        InvalidCompactMap: MAP_SYMBOL_OUT_OF_RANGE, or a reason from `shared.codec.png_reader.read`.
    """
    rows = read(png, fmt.geometry)
    samples = _split_bits(rows, fmt.bit_depth)[:, : fmt.geometry.row_samples]
    largest = int(samples.max())
    if largest >= fmt.levels:
        raise InvalidCompactMap(
            "MAP_SYMBOL_OUT_OF_RANGE",
            f"compact map has symbol {largest}; the largest of its codec is {fmt.levels - 1}",
        )
    if fmt.layout == "rgb8":
        pixels = samples.reshape(fmt.height, fmt.width, fmt.channels)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))
    symbols = np.zeros(fmt.shape, np.uint8)
    symbols.reshape(-1)[: samples.size] = samples.reshape(-1)
    return symbols


def _join_bits(samples: NDArray[np.uint8], bit_depth: int) -> NDArray[np.uint8]:
    """Pack (H, N) samples into (H, bytes), first sample in the highest bits, zero-padded."""
    bits = np.unpackbits(samples[..., np.newaxis], axis=-1)[..., -bit_depth:]
    return np.packbits(bits.reshape(len(samples), -1), axis=-1)


def _split_bits(rows: NDArray[np.uint8], bit_depth: int) -> NDArray[np.uint8]:
    """Split (H, bytes) into (H, samples), including padding."""
    return _samples_of_bytes(bit_depth)[rows].reshape(len(rows), -1)


@cache
def _samples_of_bytes(bit_depth: int) -> NDArray[np.uint8]:
    """Return the samples of every byte, (256, 8 // bit_depth)."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)).reshape(256, -1, bit_depth)
    weights = 1 << np.arange(bit_depth - 1, -1, -1)
    return (bits @ weights).astype(np.uint8)
