"""An exact in-memory index, a cache of the database's embeddings.

Inner products of unit vectors are cosines. The database ensures that keys are unique.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.index.concurrency import Combining
from recognizer_service.gallery.index.rows import Rows
from recognizer_service.gallery.types import Embedding

_CHUNK = 16_384
_CACHE_LINE_BYTES = 64

# From 8 probes on, a matrix product is faster than FAISS's loop over the probes; from 16 on, four
# times faster. FAISS 1.15 multiplies probes by dimension; by default it loops below 250 probes.
_PROBES_FOR_A_PRODUCT = 8

_Question: TypeAlias = tuple[Embedding, int]


class FlatIndex:
    """A FAISS index with exhaustive search; see `FaceIndex`."""

    def __init__(self, *, size: int, threads: int, half: bool = False) -> None:
        """Create an empty index.

        Args:
            size: dimension of the embeddings.
            threads: maximum number of threads per search.
            half: store half-precision numbers: half the memory, with errors of about 1e-4 in
                cosines.
        """
        # The threshold is global to the process, and so is the size except during a changeover.
        faiss.cvar.distance_compute_blas_threshold = _PROBES_FOR_A_PRODUCT * size
        inner = faiss.METRIC_INNER_PRODUCT
        self._vectors = (
            faiss.IndexScalarQuantizer(size, faiss.ScalarQuantizer.QT_fp16, inner)
            if half
            else faiss.IndexFlatIP(size)
        )
        self._rows = Rows(self._vectors)
        self._threads = threads
        self._searches = Combining(self._search)

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self._rows)

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Add new faces, without waiting for a running search: N keys and (N, D) unit vectors."""
        self._rows.add(keys, embeddings)

    def remove(self, keys: Sequence[int]) -> None:
        """Remove faces, without waiting for a running search."""
        self._rows.remove(keys)

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """Return the faces nearest to a unit vector: key to cosine in [-1, 1], best first."""
        return self._searches.ask((embedding, count))

    def keys(self) -> list[int]:
        """Return the keys of all faces, ascending."""
        return sorted(self._rows.keys().tolist())

    def contents(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield keys and embeddings of all faces in batches; do not change the index meanwhile."""
        keys = self._rows.keys()
        for start in range(0, len(keys), _CHUNK):
            portion = keys[start : start + _CHUNK]
            yield portion, self._vectors.reconstruct_n(start, len(portion))

    def _search(self, questions: Sequence[_Question]) -> list[dict[int, float]]:
        faiss.omp_set_num_threads(self._threads)  # OpenMP stores this per calling thread
        probes = _aligned([embedding for embedding, _ in questions])
        with self._rows.searching() as faces:
            most = min(max(count for _, count in questions), faces)
            if most == 0:
                return [{} for _ in questions]
            cosines, rows = self._vectors.search(probes, most)
            cosines = np.clip(cosines, -1, 1)
            return [
                _by_key(*self._rows.present(*found), count)
                for *found, (_, count) in zip(rows, cosines, questions, strict=True)
            ]


def _by_key(keys: NDArray[np.int64], cosines: NDArray[np.float32], count: int) -> dict[int, float]:
    return dict(zip(keys[:count].tolist(), cosines[:count].tolist(), strict=True))


def _aligned(embeddings: Sequence[Embedding]) -> NDArray[np.float32]:
    """Stack N vectors to (N, D), each aligned to a cache line.

    A pass over float32 vectors reads the probe once per face; it takes a sixth longer if the probe
    crosses cache lines.
    """
    shape = len(embeddings), len(embeddings[0])
    size = shape[0] * shape[1]
    memory = np.empty(size + _CACHE_LINE_BYTES // 4, np.float32)
    start = -memory.ctypes.data % _CACHE_LINE_BYTES // 4
    return np.stack(embeddings, out=memory[start : start + size].reshape(shape))
