"""A face in a few hundred bytes: CompNet's output as symbols, and the symbols as a PNG file.

Equation 1 of the paper turns each value x in [-1, 1] of CompNet's output into a symbol q of
[0, L-1], q = round((x + 1)(L - 1) / 2); back it is x = 2q / (L - 1) - 1. The samples of the PNG
are the symbols themselves, in one of two layouts:

``rgb8``
    the paper's: channels 0, 1, 2 are the red, green and blue of a height x width picture with
    8 bits a sample.
``row``
    one row of gray samples of the fewest bits (1, 2, 4 or 8) that hold L levels: channel after
    channel, each from its top row to its bottom row, left to right; the symbol of channel c at
    (y, x) is sample (c * height + y) * width + x. One filter byte in all. A format may spare
    symbols at the end, which a map then lacks, and which are 0 to its reader: a small map may
    be the beginning of a large one.

PNG decoders stretch gray to eight bits, so Pillow shows two-bit symbols 0..3 as 0, 85, 170, 255
and four-bit symbols times 17. `unpack` returns the symbols.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.codec.png import GRAY, RGB, Geometry, write
from shared.codec.png_reader import MAX_PNG_BYTES, read
from shared.errors import InvalidCompactMap

Layout = Literal["rgb8", "row"]
"""How the symbols lie in the PNG; see the module."""

_RGB_CHANNELS = 3
_MAX_LEVELS = 256


@dataclass(frozen=True, slots=True)
class MapFormat:
    """The shape of a codec's maps and how they lie in their PNG.

    Attributes:
        channels: C, at least 1; 3 for `rgb8`.
        height: rows of a channel.
        width: columns of a channel.
        levels: L, 2 to 256; symbols are 0 to L-1.
        layout: `rgb8` or `row`.
        spared: symbols at the end that are not sent, not all of them; none for `rgb8`.

    Raises:
        ValueError: a value out of its range, or maps that could exceed 4096 bytes.
    """

    channels: int
    height: int
    width: int
    levels: int
    layout: Layout
    spared: int = 0

    def __post_init__(self) -> None:
        """Refuse a format that no map can have."""
        if self.layout not in {"rgb8", "row"}:
            raise ValueError(f"layout {self.layout!r} is neither rgb8 nor row")
        if min(self.channels, self.height, self.width) < 1:
            raise ValueError(f"map of {self.shape} symbols; every side must be at least 1")
        if not 2 <= self.levels <= _MAX_LEVELS:  # noqa: PLR2004 - fewer than 2 levels say nothing
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
        """(C, H, W) of the symbols."""
        return self.channels, self.height, self.width

    @property
    def bit_depth(self) -> int:
        """Bits of a PNG sample: 1, 2, 4 or 8."""
        if self.layout == "rgb8":
            return 8
        return next(bits for bits in (1, 2, 4, 8) if self.levels <= 1 << bits)

    @property
    def geometry(self) -> Geometry:
        """The header that every map of this format has."""
        if self.layout == "rgb8":
            return Geometry(self.width, self.height, self.bit_depth, RGB)
        return Geometry(math.prod(self.shape) - self.spared, 1, self.bit_depth, GRAY)


def quantize(latent: NDArray[np.float32], levels: int) -> NDArray[np.uint8]:
    """Symbols of CompNet's output, by equation 1; halves go to the even symbol.

    Args:
        latent: (C, H, W) in [-1, 1]; a hair beyond, as floating-point tanh may be, is clipped.
        levels: L, 2 to 256.

    Returns:
        (C, H, W) in [0, L-1].

    Raises:
        ValueError: a value is not finite, which no healthy network produces.
    """
    if not np.isfinite(latent).all():
        raise ValueError("latent has values that are not finite")
    rounded = np.rint((latent + np.float32(1)) * np.float32((levels - 1) / 2))
    symbols: NDArray[np.uint8] = rounded.clip(0, levels - 1).astype(np.uint8)
    return symbols


def dequantize(symbols: NDArray[np.uint8], fmt: MapFormat) -> NDArray[np.float32]:
    """What RecNet sees of symbols (..., C, H, W): 2q/(L-1) - 1, or 0 where none was sent.

    Float32 of the same shape, in [-1, 1].
    """
    latent = symbols.astype(np.float32) / np.float32((fmt.levels - 1) / 2) - np.float32(1)
    size = math.prod(fmt.shape)
    latent.reshape(-1, size)[:, size - fmt.spared :] = 0
    return latent


def pack(symbols: NDArray[np.uint8], fmt: MapFormat) -> bytes:
    """The smallest PNG found for a map.

    Args:
        symbols: (C, H, W) in [0, L-1].
        fmt: the codec's format.

    Raises:
        ValueError: symbols of another shape, or a symbol above L-1.
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
    """The symbols (C, H, W) of a map that must be of exactly this format.

    Raises:
        InvalidCompactMap: MAP_SYMBOL_OUT_OF_RANGE, or a reason of `shared.codec.png_reader.read`.
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
    return np.pad(samples.reshape(-1), (0, fmt.spared)).reshape(fmt.shape)


def _join_bits(samples: NDArray[np.uint8], bit_depth: int) -> NDArray[np.uint8]:
    """(H, N) samples to (H, bytes), the first sample in the highest bits; rows end in zeros."""
    bits = np.unpackbits(samples[..., np.newaxis], axis=-1)[..., -bit_depth:]
    return np.packbits(bits.reshape(len(samples), -1), axis=-1)


def _split_bits(rows: NDArray[np.uint8], bit_depth: int) -> NDArray[np.uint8]:
    """(H, bytes) to (H, samples), padding included."""
    bits = np.unpackbits(rows, axis=-1).reshape(len(rows), -1, bit_depth)
    weights = 1 << np.arange(bit_depth - 1, -1, -1)
    return (bits @ weights).astype(np.uint8)
