"""An approximate index of 136 bytes per face: sketches find candidates, embeddings rank them.

A sketch has two bits per component of an embedding, 128 bytes for 512 components. A search has
three steps, each on fewer faces than the one before:

1. The signs of all faces are compared with the probe's. Two unit vectors at an angle t differ in a
   share of about t / pi of their signs (M. S. Charikar, Similarity estimation techniques from
   rounding algorithms, STOC 2002). The pass reads 1/32 of the bytes of the embeddings.
2. The faces with the nearest signs are ranked by the probe's inner products with their components
   as both bits tell them, the optimal four levels of normal numbers (J. Max, Quantizing for minimum
   distortion, IRE Trans. Inform. Theory 6, 1960). The probe itself is not rounded.
3. The best of them are compared exactly, by their embeddings from the database.

Unlike a graph or a clustering, sketches need no training, remove faces at once and permanently, and
are rebuilt as fast as the vectors can be read.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.index.concurrency import Combining
from recognizer_service.gallery.index.rows import Rows
from recognizer_service.gallery.types import Embedding

# Faces ranked by both bits, and faces read from the database: more among more faces, so that
# recall does not fall as the index grows.
_LEAST_SCANNED = 2048
_FACES_PER_SCANNED = 512
_LEAST_READ = 64
_FACES_PER_READ = 16_384
_READ_PER_ANSWER = 2
_MOST_READ = 16_384  # half of SQLite's limit per statement

# Max's quantizer of standard normal numbers.
_BORDER = 0.9816
_MEAN, _DEVIATION = (1.510 + 0.4528) / 2, (1.510 - 0.4528) / 2

_BITS_OF_BYTES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1).astype("f")

# A scan reserves 8 bytes per probe, possible distance and face found, mostly never touched: half a
# gigabyte for 32 probes.
_MOST_COUNTED = 1 << 17

ReadEmbeddings: TypeAlias = Callable[[Sequence[int]], tuple[list[int], NDArray[np.float32]]]
"""Reads embeddings: given N keys, returns the M existing ones and their (M, D) unit vectors."""

_Question: TypeAlias = tuple[Embedding, int]
_Sketched: TypeAlias = tuple[NDArray[np.int64], NDArray[np.uint8]]


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
        sign_bytes = -(-size // 8)
        self._rows = Rows(faiss.IndexBinaryFlat(8 * sign_bytes), detail_bytes=sign_bytes)
        self._signs = self._rows.index
        self._signs.use_heap = False  # counting distances takes the same time for any number
        self._scans = Combining(self._scan)

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self._rows)

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Add new faces, without waiting for a running search: N keys and (N, D) unit vectors."""
        self._rows.add(keys, *sketch(embeddings))

    def remove(self, keys: Sequence[int]) -> None:
        """Remove faces, without waiting for a running search."""
        self._rows.remove(keys)

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """Return the faces nearest to a unit vector: key to cosine in [-1, 1], best first."""
        read = max(_LEAST_READ, _READ_PER_ANSWER * count, len(self) // _FACES_PER_READ)
        keys, vectors = self._read(self._candidates(embedding, min(read, _MOST_READ)))
        if not keys:
            return {}
        cosines = np.clip(vectors @ embedding, -1, 1)
        best = np.argsort(-cosines)[:count].tolist()
        return {keys[row]: float(cosines[row]) for row in best}

    def keys(self) -> list[int]:
        """Return the keys of all faces, ascending."""
        return sorted(self._rows.keys().tolist())

    def _candidates(self, embedding: Embedding, count: int) -> list[int]:
        scanned = max(_LEAST_SCANNED, 2 * count, len(self) // _FACES_PER_SCANNED)
        keys, sketches = self._scans.ask((embedding, scanned))
        if len(keys) > count:
            products = _inner_products(sketches, embedding)
            keys = keys[np.argpartition(-products, count)[:count]]
        candidates: list[int] = keys.tolist()
        return candidates

    def _scan(self, questions: Sequence[_Question]) -> list[_Sketched]:
        """Return keys and sketches of the faces with the nearest signs."""
        faiss.omp_set_num_threads(self._threads)  # OpenMP stores this per calling thread
        signs, _ = sketch(np.stack([embedding for embedding, _ in questions]))
        with self._rows.searching() as faces:
            most = min(max(count for _, count in questions), faces)
            if most == 0:
                return [(np.empty(0, np.int64), np.empty((0, 0), np.uint8)) for _ in questions]
            self._signs.query_batch_size = max(1, _MOST_COUNTED // most)
            _, nearest = self._signs.search(signs, most)
            found = []
            for rows, (_, count) in zip(nearest, questions, strict=True):
                keys, kept = self._rows.present(rows[:count], rows[:count])
                found.append((keys, self._rows.contents(kept)))
            return found


def sketch(embeddings: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return two bits per component of (N, D) embeddings, eight to a byte, padded with zeros.

    The first tells whether the component is positive; the second, whether that agrees with whether
    it is large. With both as numbers s and t of -1 or 1, the component is about `_MEAN` s +
    `_DEVIATION` t, in units of its standard deviation.
    """
    positive = embeddings > 0
    large = np.abs(embeddings) > _BORDER / np.sqrt(embeddings.shape[1])
    return np.packbits(positive, axis=1), np.packbits(positive == large, axis=1)


def _inner_products(sketches: NDArray[np.uint8], probe: Embedding) -> NDArray[np.float32]:
    """Return the inner products of N sketches with a probe, up to a factor and a constant."""
    weights = np.zeros((2, 8 * (sketches.shape[1] // 2)), np.float32)
    weights[:, : len(probe)] = np.outer((_MEAN, _DEVIATION), probe)
    of_bytes = weights.reshape(-1, 8) @ _BITS_OF_BYTES.T  # for each position, of all its values
    positions = np.arange(len(of_bytes)) * of_bytes.shape[1]
    products: NDArray[np.float32] = of_bytes.ravel()[sketches + positions].sum(axis=1)
    return products
