"""The rows of a FAISS index and their keys.

FAISS's own ids make removal slow: it moves all following rows and rebuilds the id table, half a
second with a million rows. Here the last row replaces the removed one. Removal does not wait for a
running search either: the face is excluded from results at once, and its row is removed before the
next search.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray


class ReadersWriterLock:
    """Many readers or one writer; waiting writers go before new readers. Not reentrant."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._waiting_writers = 0
        self._writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock, shared with other readers."""
        with self._changed:
            self._changed.wait_for(lambda: not self._writing and not self._waiting_writers)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing_if_free(self) -> Iterator[bool]:
        """Hold the lock exclusively if it is free and nobody waits; yields whether it is held."""
        with self._changed:
            free = not (self._writing or self._readers or self._waiting_writers)
            if free:
                self._writing = True
        try:
            yield free
        finally:
            if free:
                with self._changed:
                    self._writing = False
                    self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock exclusively."""
        with self._changed:
            self._waiting_writers += 1
            self._changed.wait_for(lambda: not self._writing and not self._readers)
            self._waiting_writers -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()


_MOST_DOOMED = 4096
_LEAST_ROOM = 1024


class Rows:
    """The rows of one index without ids, which this object owns; see `FaceIndex`."""

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
