"""Choose symbols from which a readout finds the embedding of the uncompressed face.

The nearest symbol is not always the best one. A value halfway between two levels costs the picture
the same either way, but moves what a readout finds (`shared.inference.readouts`). So the camera,
which knows the embedding, starts from the nearest symbols and then moves one after the other to its
second nearest level, always the one that gains most, until none gains any more. A map does not
grow by that, and readers of pictures notice little.

It is the rate-distortion optimized quantization of video encoders (Sullivan and Wiegand,
"Rate-distortion optimization for video compression", 1998), with the embedding in place of the
rate; and, in what it uses, the wet paper codes of steganography (Fridrich, Goljan and Soukal,
"Perturbed quantization steganography", 2005).
"""

import numpy as np
from numpy.typing import NDArray

from shared.codec.compact_map import MapFormat, quantize
from shared.inference.readouts import Readout

Floats = NDArray[np.float32]

_LEAST_GAIN = np.float32(1e-7)  # below it, rounding errors of float32 decide


class Rounding:
    """Rounds the latents of one operating point towards embeddings; thread-safe."""

    def __init__(self, readout: Readout, fmt: MapFormat, *, distortion: float) -> None:
        """Prepare for a readout.

        Args:
            readout: of the operating point.
            fmt: format of its maps.
            distortion: as in `ReadoutConfig`.
        """
        self._readout = readout
        self._levels = fmt.levels
        self._distortion = np.float32(distortion)
        # What all symbols find when one of them moves by a level.
        self._gram = readout.weight @ readout.weight.T * np.float32((2 / (fmt.levels - 1)) ** 2)
        self._own = self._gram.diagonal().copy()

    @property
    def embedding_size(self) -> int:
        """D."""
        return len(self._readout.bias)

    def symbols(self, latents: Floats, embeddings: Floats) -> NDArray[np.uint8]:
        """Symbols (N, C, H, W) in [0, L-1].

        Args:
            latents: (N, C, H, W), CompNet's output in [-1, 1].
            embeddings: (N, D) unit vectors of the uncompressed faces.

        Raises:
            ValueError: a value is not finite.
        """
        symbols = quantize(latents, self._levels)
        if len(symbols) == 0:
            return symbols
        sent = symbols.reshape(len(symbols), -1)[:, : len(self._own)]
        scale = np.float32((self._levels - 1) / 2)
        values = (latents.reshape(len(latents), -1)[:, : len(self._own)] + 1) * scale
        found = self._readout.estimate(sent.astype(np.float32) / scale - 1)
        pulls = (embeddings - found) @ self._readout.weight.T / scale
        for row, value, pull in zip(sent, values, pulls, strict=True):
            self._move(row, value, pull)
        return symbols

    def _move(self, symbols: NDArray[np.uint8], values: Floats, pulls: Floats) -> None:
        """Move symbols (S,) of one map in place.

        Args:
            symbols: the nearest ones.
            values: (S,) CompNet's output in steps, which need not lie within the levels.
            pulls: (S,) scalar products of what a level adds to the estimate, and its error.
        """
        nearest = symbols.astype(np.float32)
        moves = np.where(values >= nearest, np.float32(1), np.float32(-1))
        moves[symbols == 0] = 1
        moves[symbols == self._levels - 1] = -1
        # (q + m - v)^2 - (q - v)^2 for a move m of 1 or -1.
        farther = self._distortion * (1 + 2 * moves * (nearest - values))
        costs = self._own + farther - 2 * moves * pulls
        for _ in symbols:
            best = int(costs.argmin())
            if costs[best] > -_LEAST_GAIN:
                break
            move, gain = moves[best], costs[best]
            costs += (2 * move) * moves * self._gram[best]
            costs[best], moves[best] = -gain, -move  # to move back would undo it
            symbols[best] = int(symbols[best]) + int(move)
