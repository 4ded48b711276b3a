"""An exact index in memory, a cache of the embeddings in the database.

Inner products of unit vectors are cosines. FAISS cannot search while it is
being changed, hence the lock, and it accepts an id twice, hence uniqueness is the database's job.
"""

from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.limits import EMBEDDING_SIZE
from recognizer_service.gallery.lock import ReadersWriterLock
from recognizer_service.gallery.records import Embedding


class FlatIndex:
    """A FAISS index that compares a probe with every face; see `FaceIndex`."""

    def __init__(self, *, threads: int) -> None:
        self._lock = ReadersWriterLock()
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(EMBEDDING_SIZE))
        self._threads = threads

    def __len__(self) -> int:
        """How many faces it holds."""
        return int(self._index.ntotal)

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Add faces that are not there yet: N keys and (N, 512) unit vectors."""
        with self._lock.writing():
            self._index.add_with_ids(embeddings, np.asarray(keys, np.int64))

    def remove(self, keys: Sequence[int]) -> None:
        """Take faces out; all at once, since every call costs a pass over the index."""
        with self._lock.writing():
            self._index.remove_ids(faiss.IDSelectorBatch(np.asarray(keys, np.int64)))

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """The faces nearest to a unit vector: key to cosine in [-1, 1], best first."""
        faiss.omp_set_num_threads(self._threads)  # OpenMP keeps this number per calling thread
        with self._lock.reading():
            count = min(count, len(self))
            if count == 0:
                return {}
            similarities, keys = self._index.search(embedding[np.newaxis], count)
        cosines = np.clip(similarities[0], -1, 1)
        return dict(zip(keys[0].tolist(), cosines.tolist(), strict=True))

    def keys(self) -> list[int]:
        """The keys of all faces, ascending."""
        with self._lock.reading():
            keys: list[int] = np.sort(faiss.vector_to_array(self._index.id_map)).tolist()
        return keys
