"""The rows of a FAISS index, and whose they are."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

_LEAST_ROOM = 1024


class Rows:
    """The faces of one FAISS index; see `FaceIndex`.

    FAISS cannot search during changes, but changes do not wait for a search: new rows are added
    before the next one, and a removed face is left out of results at once and its row taken out
    before the next search.

    FAISS's own ids make removal slow: it moves all following rows and rebuilds the id table, half a
    second with a million rows. Here the last row replaces the removed one.
    """

    def __init__(self, index: Any, *, detail_bytes: int = 0) -> None:
        """Take an empty index.

        Args:
            index: an index with rows of a fixed size.
            detail_bytes: bytes kept with each row that FAISS does not search.
        """
        self.index = index
        self._is_binary = isinstance(index, faiss.IndexBinary)
        self._unchanged = threading.Lock()  # while held, only its holder changes the index
        self._naming = threading.Lock()  # held only briefly; guards the attributes below
        self._count = 0
        self._keys = np.empty(0, np.int64)  # with spare capacity, and so are the details
        self._details = np.empty((0, detail_bytes), np.uint8)
        self._waiting: list[NDArray[Any]] = []  # the last rows, which the index does not have yet
        self._doomed: set[int] = set()  # rows

    def __len__(self) -> int:
        """Return the number of faces."""
        with self._naming:
            return self._count - len(self._doomed)

    def add(
        self, keys: Sequence[int], rows: NDArray[Any], details: NDArray[np.uint8] | None = None
    ) -> None:
        """Add new faces: N keys, N rows as FAISS takes them, and (N, detail_bytes) details."""
        with self._naming:
            first, last = self._count, self._count + len(keys)
            self._keys = _with_room(self._keys, first, last)
            self._details = _with_room(self._details, first, last)
            self._keys[first:last] = keys
            if details is not None:
                self._details[first:last] = details
            self._waiting.append(rows)
            self._count = last
        self._update_if_free()

    def remove(self, keys: Sequence[int]) -> None:
        """Remove faces; unknown keys are ignored."""
        with self._naming:
            gone = np.isin(self._keys[: self._count], keys)
            self._doomed.update(np.flatnonzero(gone).tolist())
        self._update_if_free()

    @contextmanager
    def searching(self) -> Iterator[int]:
        """Keep the index unchanged, with all faces in it; yields the number of its rows."""
        with self._unchanged:
            self._update()
            yield int(self.index.ntotal)

    def present(
        self, rows: NDArray[np.int64], values: NDArray[Any]
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return keys and values of the found rows whose faces still exist, while `searching`."""
        with self._naming:
            if self._doomed:
                kept = np.isin(rows, list(self._doomed), invert=True)
                rows, values = rows[kept], values[kept]
            return self._keys[rows], values

    def contents(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the bytes of N rows, first FAISS's, then the details, while `searching`."""
        with self._naming:
            return np.hstack((self._codes()[rows], self._details[rows]))

    def keys(self) -> NDArray[np.int64]:
        """Apply pending changes, then return the keys of all faces in row order."""
        with self.searching() as count, self._naming:
            return self._keys[:count].copy()

    def _update_if_free(self) -> None:
        if self._unchanged.acquire(blocking=False):
            try:
                self._update()
            finally:
                self._unchanged.release()

    def _update(self) -> None:
        """Apply pending changes to the index, while nobody searches."""
        with self._naming:
            if self._waiting:
                self.index.add(np.concatenate(self._waiting))
                self._waiting.clear()
            if self._doomed:
                self._take_out()

    def _take_out(self) -> None:
        codes = self._codes()
        gone = np.sort(np.fromiter(self._doomed, np.int64))
        left = self._count - len(gone)
        holes, last = gone[gone < left], np.setdiff1d(np.arange(left, self._count), gone)
        for column in (codes, self._details, self._keys):
            column[holes] = column[last]
            column[left : self._count] = 0
        self.index.ntotal = self._count = left
        self._vector().resize(left * self.index.code_size)
        self._doomed.clear()

    def _codes(self) -> NDArray[np.uint8]:
        """Return a writable view of the index's rows as bytes."""
        vector = self._vector()
        codes: NDArray[np.uint8] = faiss.rev_swig_ptr(vector.data(), vector.size())
        return codes.reshape(-1, self.index.code_size)

    def _vector(self) -> Any:
        return self.index.xb if self._is_binary else self.index.codes


def _with_room(column: NDArray[Any], used: int, size: int) -> NDArray[Any]:
    """Return a column of at least `size` rows with the same `used` first ones."""
    if size <= len(column):
        return column
    room = np.empty((max(2 * len(column), size, _LEAST_ROOM), *column.shape[1:]), column.dtype)
    room[:used] = column[:used]
    return room
