"""An approximate index of 72 bytes a face: sketches find the candidates, embeddings rank them.

A sketch is the signs of an embedding's components, 64 bytes where there are 512. Two unit vectors
at an angle t differ in a share of about t / pi of their signs (M. S. Charikar, Similarity
estimation techniques from rounding algorithms, STOC 2002), so that faces of one person lie many
standard deviations below strangers' in Hamming distance. A pass over all sketches reads a
thirty-second of what a pass over the embeddings reads, and the candidates that it finds are
compared exactly, by their embeddings from the database. Unlike a graph or a clustering it needs no
training, it forgets a deleted face at once and for good, and it is made anew as fast as the vectors
can be read.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.index.rows import Rows
from recognizer_service.gallery.types import Embedding

_LEAST_CANDIDATES = 256
_CANDIDATES_PER_ANSWER = 8

ReadEmbeddings: TypeAlias = Callable[[Sequence[int]], tuple[list[int], NDArray[np.float32]]]
"""Reads faces' embeddings: of N keys, those M that there are and their (M, D) unit vectors."""


class SketchIndex:
    """Sketches in memory over embeddings in the database; see `FaceIndex`."""

    def __init__(self, read: ReadEmbeddings, *, size: int, threads: int) -> None:
        """Make it empty.

        Args:
            read: reads the embeddings of candidates.
            size: numbers in an embedding.
            threads: how many threads one search may use.
        """
        self._read = read
        self._threads = threads
        self._sketches = faiss.IndexBinaryFlat(8 * -(-size // 8))
        self._rows = Rows(self._sketches)

    def __len__(self) -> int:
        """How many faces it holds."""
        return len(self._rows)

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Add faces that are not there yet: N keys and (N, D) unit vectors."""
        self._rows.add(keys, sketch(embeddings))

    def remove(self, keys: Sequence[int]) -> None:
        """Take faces out; searches under way are not waited for."""
        self._rows.remove(keys)

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """The faces nearest to a unit vector: key to cosine in [-1, 1], best first."""
        keys, vectors = self._read(self._candidates(embedding, count))
        if not keys:
            return {}
        cosines = np.clip(vectors @ embedding, -1, 1)
        best = np.argsort(-cosines)[:count].tolist()
        return {keys[row]: float(cosines[row]) for row in best}

    def keys(self) -> list[int]:
        """The keys of all faces, ascending."""
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
    """The signs of (N, D) embeddings, eight to a byte, the last one filled up with zeros."""
    return np.packbits(embeddings > 0, axis=1)
