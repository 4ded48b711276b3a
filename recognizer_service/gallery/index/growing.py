"""The forms of index, and an index that switches form as it grows."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.index import FaceIndex
from recognizer_service.gallery.index.flat import FlatIndex
from recognizer_service.gallery.index.sketch import ReadEmbeddings, SketchIndex
from recognizer_service.gallery.types import Embedding

IndexForm = Literal["auto", "float32", "float16", "sketch"]
"""How faces are kept in memory; "auto" chooses by their number.

A face of 512 numbers takes 2048, 1024 or 72 bytes.
"""

MOST_FLOAT32 = 200_000
MOST_FLOAT16 = 1_000_000
"""Number of faces of `_USUAL_SIZE` numbers up to which "auto" uses float16; for other sizes, as
many as take the same memory.
"""
_USUAL_SIZE = 512


def open_index(form: IndexForm, read: ReadEmbeddings, *, size: int, threads: int) -> FaceIndex:
    """Open an empty index.

    Args:
        form: the form.
        read: reads the embeddings of candidates.
        size: dimension of the embeddings.
        threads: maximum number of threads per search.
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
    """Starts in one form and switches to the next when it outgrows it."""

    def __init__(
        self, smallest: FlatIndex, *larger: tuple[int, Callable[[], FlatIndex | SketchIndex]]
    ) -> None:
        """Start with the smallest form.

        Args:
            smallest: an empty index.
            larger: for each further form, the maximum number of faces of the previous form, and a
                factory. Sketches must be last, as faces cannot be moved out of them.
        """
        self._index: FlatIndex | SketchIndex = smallest
        self._larger = list(larger)

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self._index)

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Add new faces; searches continue during a switch to another form."""
        while self._larger and len(self) + len(keys) > self._larger[0][0]:
            self._grow()
        self._index.add(keys, embeddings)

    def remove(self, keys: Sequence[int]) -> None:
        """Remove faces."""
        self._index.remove(keys)

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """Return the faces nearest to a unit vector: key to cosine in [-1, 1], best first."""
        return self._index.nearest(embedding, count)

    def keys(self) -> list[int]:
        """Return the keys of all faces, ascending."""
        return self._index.keys()

    def _grow(self) -> None:
        _, make = self._larger.pop(0)
        larger = make()
        assert isinstance(self._index, FlatIndex)  # sketches come last
        for keys, embeddings in self._index.contents():
            larger.add(keys.tolist(), embeddings)
        self._index = larger
