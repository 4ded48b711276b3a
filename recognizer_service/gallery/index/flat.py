"""An exact index in memory, a cache of the embeddings in the database.

Inner products of unit vectors are cosines. FAISS cannot search while it is being changed, hence
the locks in `rows`; that no key comes twice is the database's job.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

import faiss
import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.index.rows import Rows
from recognizer_service.gallery.types import Embedding

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Combining(Generic[Question, Answer]):
    """One pass at a time over whatever has been asked by then."""

    def __init__(self, answer: Callable[[Sequence[Question]], Sequence[Answer]]) -> None:
        """Answer with a function that takes all waiting questions, and answers in their order."""
        self._answer = answer
        self._answering = threading.Lock()
        self._waiting: deque[tuple[Question, Future[Answer]]] = deque()

    def ask(self, question: Question) -> Answer:
        """The answer; what `answer` raises is raised to all who were asked for together."""
        future: Future[Answer] = Future()
        self._waiting.append((question, future))
        with self._answering:
            if not future.done():  # else whoever held the lock has answered this one too
                self._answer_waiting()
        return future.result()

    def __len__(self) -> int:
        """How many questions wait."""
        return len(self._waiting)

    def _answer_waiting(self) -> None:
        asked = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            answers = self._answer([question for question, _ in asked])
        except BaseException as error:  # noqa: BLE001 - it is raised to all who asked
            for _, future in asked:
                future.set_exception(error)
            return
        for (_, future), answer in zip(asked, answers, strict=True):
            future.set_result(answer)


_CHUNK = 16_384
_CACHE_LINE_BYTES = 64

# From eight probes on, a product of matrices is faster than FAISS's loop over the probes, from 16
# on four times. FAISS 1.15 counts the probes' numbers; left alone it would loop below 250 probes.
_PROBES_FOR_A_PRODUCT = 8

_Question: TypeAlias = tuple[Embedding, int]


class FlatIndex:
    """A FAISS index that compares a probe with every face; see `FaceIndex`."""

    def __init__(self, *, size: int, threads: int, half: bool = False) -> None:
        """Make it empty.

        Args:
            size: numbers in an embedding.
            threads: how many threads one search may use.
            half: whether to keep half-precision numbers: half the memory, and cosines that are
                off by some 1e-4.
        """
        # The whole process has one threshold, and but for a change of models one size.
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
        """How many faces it holds."""
        return len(self._rows)

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Add faces that are not there yet: N keys and (N, D) unit vectors."""
        self._rows.add(keys, embeddings)

    def remove(self, keys: Sequence[int]) -> None:
        """Take faces out; searches under way are not waited for."""
        self._rows.remove(keys)

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """The faces nearest to a unit vector: key to cosine in [-1, 1], best first."""
        return self._searches.ask((embedding, count))

    def keys(self) -> list[int]:
        """The keys of all faces, ascending."""
        return sorted(self._rows.keys().tolist())

    def contents(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Keys and embeddings of all faces, in portions; nothing may be changed meanwhile."""
        keys = self._rows.keys()
        for start in range(0, len(keys), _CHUNK):
            portion = keys[start : start + _CHUNK]
            yield portion, self._vectors.reconstruct_n(start, len(portion))

    def _search(self, questions: Sequence[_Question]) -> list[dict[int, float]]:
        faiss.omp_set_num_threads(self._threads)  # OpenMP keeps this number per calling thread
        probes = _aligned([embedding for embedding, _ in questions])
        self._rows.settle(wait=True)  # nobody else searches: there is one pass at a time
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
    """(N, D) from N vectors, each at the start of a cache line.

    A pass over float32 vectors reads the probe once per face; astride two lines it takes a sixth
    longer.
    """
    shape = len(embeddings), len(embeddings[0])
    size = shape[0] * shape[1]
    memory = np.empty(size + _CACHE_LINE_BYTES // 4, np.float32)
    start = -memory.ctypes.data % _CACHE_LINE_BYTES // 4
    return np.stack(embeddings, out=memory[start : start + size].reshape(shape))
