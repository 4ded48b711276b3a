"""An exact in-memory index, a cache of the database's embeddings.

Inner products of unit vectors are cosines. FAISS cannot search during changes, hence the locks of
`Rows`. The database ensures that keys are unique.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.index.concurrency import Combining, ReadersWriterLock
from recognizer_service.gallery.types import Embedding

_MOST_DOOMED = 4096
_LEAST_ROOM = 1024
_CHUNK = 16_384
_CACHE_LINE_BYTES = 64

# From 8 probes on, a matrix product is faster than FAISS's loop over the probes; from 16 on, four
# times faster. FAISS 1.15 multiplies probes by dimension; by default it loops below 250 probes.
_PROBES_FOR_A_PRODUCT = 8

_Question: TypeAlias = tuple[Embedding, int]


class Rows:
    """The rows of one FAISS index and their keys; see `FaceIndex`.

    FAISS's own ids make removal slow: it moves all following rows and rebuilds the id table, half a
    second with a million rows. Here the last row replaces the removed one. Removal does not wait
    for a running search either: the face is excluded from results at once, and its row is removed
    before the next search.
    """

    def __init__(self, index: Any) -> None:
        """Take an empty index with rows of a fixed size."""
        self.index = index
        self._is_binary = isinstance(index, faiss.IndexBinary)
        self._lock = ReadersWriterLock()
        self._naming = threading.Lock()  # held only briefly; guards the attributes below
        self._keys = np.empty(0, np.int64)  # with spare capacity
        self._doomed: set[int] = set()

    def __len__(self) -> int:
        """Return the number of faces."""
        with self._naming:
            return int(self.index.ntotal) - len(self._doomed)

    def add(self, keys: Sequence[int], rows: NDArray[Any]) -> None:
        """Add new faces."""
        with self._lock.writing(), self._naming:
            self._take_out()
            first, size = self.index.ntotal, self.index.ntotal + len(keys)
            if size > len(self._keys):
                room = np.empty(max(2 * len(self._keys), size, _LEAST_ROOM), np.int64)
                room[:first] = self._keys[:first]
                self._keys = room
            self._keys[first:size] = keys
            self.index.add(rows)

    def remove(self, keys: Sequence[int]) -> None:
        """Remove faces; unknown keys are ignored."""
        with self._naming:
            present = self._names()
            self._doomed.update(present[np.isin(present, keys)].tolist())
            wait = len(self._doomed) > _MOST_DOOMED
        self.settle(wait=wait)

    def settle(self, *, wait: bool) -> None:
        """Remove the rows of removed faces; without `wait`, skip it while a search runs."""
        if self._doomed:
            with self._lock.writing() if wait else self._lock.writing_if_free() as free:
                if free is not False:
                    with self._naming:
                        self._take_out()

    @contextmanager
    def searching(self) -> Iterator[Callable[[int], int]]:
        """Keep the rows unchanged; yields a function from a number of faces to a number of rows.

        More rows than faces must be requested while removed ones remain. `names` filters those out.
        """
        with self._lock.reading():
            yield lambda count: min(count + len(self._doomed), int(self.index.ntotal))

    def names(self, rows: NDArray[np.int64], values: NDArray[Any]) -> Iterator[tuple[int, float]]:
        """Return key and value of each row found, while `searching`."""
        with self._naming:
            keys = self._names()[rows].tolist()
            for key, value in zip(keys, values.tolist(), strict=True):
                if key not in self._doomed:
                    yield key, value

    def keys(self) -> NDArray[np.int64]:
        """Remove pending rows, then return the keys of all faces in row order."""
        self.settle(wait=True)
        with self._naming:
            return self._names().copy()

    def _names(self) -> NDArray[np.int64]:
        return self._keys[: self.index.ntotal]

    def _take_out(self) -> None:
        if not self._doomed:
            return
        names, codes = self._names(), self._codes()
        gone = np.flatnonzero(np.isin(names, list(self._doomed)))
        left = len(names) - len(gone)
        holes, last = gone[gone < left], np.setdiff1d(np.arange(left, len(names)), gone)
        codes[holes], names[holes] = codes[last], names[last]
        codes[left:] = 0
        self.index.ntotal = left
        self._vector().resize(left * self.index.code_size)
        self._doomed.clear()

    def _codes(self) -> NDArray[np.uint8]:
        """Return a writable view of all rows as bytes."""
        vector = self._vector()
        codes: NDArray[np.uint8] = faiss.rev_swig_ptr(vector.data(), vector.size())
        return codes.reshape(-1, self.index.code_size)

    def _vector(self) -> Any:
        return self.index.xb if self._is_binary else self.index.codes


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
        """Add new faces: N keys and (N, D) unit vectors."""
        self._rows.add(keys, embeddings)

    def remove(self, keys: Sequence[int]) -> None:
        """Remove faces, without waiting for running searches."""
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
        self._rows.settle(wait=True)  # no other search runs: there is one pass at a time
        with self._rows.searching() as rows_for:
            most = rows_for(max(count for _, count in questions))
            if most == 0:
                return [{} for _ in questions]
            cosines, rows = self._vectors.search(probes, most)
            cosines = np.clip(cosines, -1, 1)
            return [
                dict(islice(self._rows.names(*found), count))
                for *found, (_, count) in zip(rows, cosines, questions, strict=True)
            ]


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
