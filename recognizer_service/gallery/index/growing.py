"""The forms of index that there are, and one that takes the form that suits its size."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.index import FaceIndex
from recognizer_service.gallery.index.flat import FlatIndex
from recognizer_service.gallery.index.sketch import ReadEmbeddings, SketchIndex
from recognizer_service.gallery.types import Embedding

IndexForm = Literal["auto", "float32", "float16", "sketch"]
"""How faces are kept in memory; "auto": as their number asks.

A face of 512 numbers takes 2048, 1024 or 72 bytes.
"""

MOST_FLOAT32 = 200_000
MOST_FLOAT16 = 1_000_000
"""Faces of `_USUAL_SIZE` numbers beyond which "auto" takes a smaller form; of others, as many as
take the same memory."""
_USUAL_SIZE = 512


def open_index(form: IndexForm, read: ReadEmbeddings, *, size: int, threads: int) -> FaceIndex:
    """An empty index.

    Args:
        form: which.
        read: reads the embeddings of candidates.
        size: numbers in an embedding.
        threads: how many threads one search may use.
    """
    if form == "float32":
        return FlatIndex(size=size, threads=threads)
    if form == "float16":
        return FlatIndex(size=size, threads=threads, half=True)
    if form == "sketch":
        return SketchIndex(read, size=size, threads=threads)
    most_float32, most_float16 = (
        most * _USUAL_SIZE // size for most in (MOST_FLOAT32, MOST_FLOAT16)
    )
    return GrowingIndex(
        FlatIndex(size=size, threads=threads),
        (most_float32, lambda: FlatIndex(size=size, threads=threads, half=True)),
        (most_float16, lambda: SketchIndex(read, size=size, threads=threads)),
    )


class GrowingIndex:
    """Begins in one form and moves to the next when it has more faces than suit it."""

    def __init__(
        self, smallest: FlatIndex, *larger: tuple[int, Callable[[], FlatIndex | SketchIndex]]
    ) -> None:
        """Begin with the smallest.

        Args:
            smallest: an empty index.
            larger: for each further form, the most faces of the form before it, and how to make
                one. Sketches cannot be moved out of: they can only be the last.
        """
        self._index: FlatIndex | SketchIndex = smallest
        self._larger = list(larger)

    def __len__(self) -> int:
        """How many faces it holds."""
        return len(self._index)

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Add faces that are not there yet; searches go on while they move to another form."""
        while self._larger and len(self) + len(keys) > self._larger[0][0]:
            self._grow()
        self._index.add(keys, embeddings)

    def remove(self, keys: Sequence[int]) -> None:
        """Take faces out."""
        self._index.remove(keys)

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """The faces nearest to a unit vector: key to cosine in [-1, 1], best first."""
        return self._index.nearest(embedding, count)

    def keys(self) -> list[int]:
        """The keys of all faces, ascending."""
        return self._index.keys()

    def _grow(self) -> None:
        _, make = self._larger.pop(0)
        larger = make()
        assert isinstance(self._index, FlatIndex)  # sketches come last
        for keys, embeddings in self._index.contents():
            larger.add(keys.tolist(), embeddings)
        self._index = larger
