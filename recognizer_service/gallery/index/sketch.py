"""An approximate index of 72 bytes per face: sketches find candidates, embeddings rank them.

A sketch is the signs of an embedding's components, 64 bytes for 512 components. Two unit vectors at
an angle t differ in a share of about t / pi of their signs (M. S. Charikar, Similarity estimation
techniques from rounding algorithms, STOC 2002), so that the Hamming distances of one person's faces
lie many standard deviations below those of strangers. A pass over all sketches reads 1/32 of the
bytes of the embeddings; the candidates are then compared exactly, by their embeddings from the
database. Unlike a graph or a clustering, sketches need no training, remove faces at once and
permanently, and are rebuilt as fast as the vectors can be read.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.index.flat import Rows
from recognizer_service.gallery.types import Embedding

_LEAST_CANDIDATES = 256
_CANDIDATES_PER_ANSWER = 8

ReadEmbeddings: TypeAlias = Callable[[Sequence[int]], tuple[list[int], NDArray[np.float32]]]
"""Reads embeddings: given N keys, returns the M existing ones and their (M, D) unit vectors."""


class SketchIndex:
    """Sketches in memory over embeddings in the database; see `FaceIndex`."""

    def __init__(self, read: ReadEmbeddings, *, size: int, threads: int) -> None:
        """Create an empty index.

        Args:
            read: reads the embeddings of candidates.
            size: dimension of the embeddings.
            threads: maximum number of threads per search.
        """
        self._read = read
        self._threads = threads
        self._sketches = faiss.IndexBinaryFlat(8 * -(-size // 8))
        self._rows = Rows(self._sketches)

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self._rows)

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Add new faces: N keys and (N, D) unit vectors."""
        self._rows.add(keys, sketch(embeddings))

    def remove(self, keys: Sequence[int]) -> None:
        """Remove faces, without waiting for running searches."""
        self._rows.remove(keys)

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """Return the faces nearest to a unit vector: key to cosine in [-1, 1], best first."""
        keys, vectors = self._read(self._candidates(embedding, count))
        if not keys:
            return {}
        cosines = np.clip(vectors @ embedding, -1, 1)
        best = np.argsort(-cosines)[:count].tolist()
        return {keys[row]: float(cosines[row]) for row in best}

    def keys(self) -> list[int]:
        """Return the keys of all faces, ascending."""
        return sorted(self._rows.keys().tolist())

    def _candidates(self, embedding: Embedding, count: int) -> list[int]:
        faiss.omp_set_num_threads(self._threads)
        wanted = max(_LEAST_CANDIDATES, _CANDIDATES_PER_ANSWER * count)
        self._rows.settle(wait=False)
        with self._rows.searching() as rows_for:
            wanted = rows_for(wanted)
            if wanted == 0:
                return []
            distances, rows = self._sketches.search(sketch(embedding[np.newaxis]), wanted)
            return [key for key, _ in self._rows.names(rows[0], distances[0])]


def sketch(embeddings: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the signs of (N, D) embeddings, eight per byte, the last byte padded with zeros."""
    return np.packbits(embeddings > 0, axis=1)
