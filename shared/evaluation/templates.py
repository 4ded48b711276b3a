"""Templates: quantized embeddings, the alternative to compact maps if cameras run the extractor.

They are smaller, or more accurate, than maps with the same extractor. But people cannot view
them, a later extractor cannot embed them again, and every camera must run the gallery's extractor.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.inference.nuisances import normalised

_GAUSSIAN_EDGE, _INNER, _OUTER = 0.9816, 0.4528, 1.510
"""The four-level quantizer of least distortion for a normal variable (Max, Quantizing for minimum
distortion, 1960)."""


@dataclass(frozen=True, slots=True)
class Template:
    """A quantization of embeddings.

    Attributes:
        name: display name.
        bits: bits per number.
        rounded: (N, D) unit vectors to what they are stored as, (N, D) of any length.
    """

    name: str
    bits: int
    rounded: Callable[[NDArray[np.float32]], NDArray[np.float32]]

    def decoded(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) unit vectors -> (N, D) unit vectors of what their templates hold."""
        return normalised(self.rounded(vectors))[0]

    def bytes(self, size: int) -> int:
        """Size in bytes of the template of an embedding of `size` numbers."""
        return -(-size * self.bits // 8)


def _signs(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(vectors < 0, -1, 1).astype(np.float32)


def _two_bits(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    standardised = vectors / np.sqrt(np.mean(np.square(vectors), axis=1, keepdims=True))
    levels = np.where(np.abs(standardised) < _GAUSSIAN_EDGE, _INNER, _OUTER)
    return (levels * _signs(vectors)).astype(np.float32)


def _eight_bits(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled = 127 * vectors / np.abs(vectors).max(axis=1, keepdims=True)
    rounded: NDArray[np.float32] = np.round(scaled).astype(np.float32)
    return rounded


TEMPLATES = (
    Template("template of signs", 1, _signs),
    Template("template of 2 bits a number", 2, _two_bits),
    Template("template of 8 bits a number", 8, _eight_bits),
)
