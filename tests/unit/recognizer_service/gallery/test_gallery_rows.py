"""Rows of an index that come and go, and whose they are."""

import random
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from recognizer_service.gallery.index.flat import Rows

KINDS: dict[str, Callable[[], Any]] = {
    "float32": lambda: faiss.IndexFlatIP(8),
    "float16": lambda: faiss.IndexScalarQuantizer(
        8, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    ),
    "bits": lambda: faiss.IndexBinaryFlat(64),
}


def row_of(key: int, kind: str) -> NDArray[Any]:
    """One row, of a key."""
    if kind == "bits":
        return np.frombuffer(np.int64(key).tobytes(), np.uint8)[np.newaxis]
    return np.array([[key % 7, key % 11, key % 13, 1, 2, 3, 4, 5]], np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_keeps_its_row_whatever_comes_and_goes(kind: str) -> None:
    chance = random.Random(1)  # noqa: S311 - reproducible, no secret
    rows, held, next_key = Rows(KINDS[kind]()), set[int](), 0
    for _ in range(600):
        if held and chance.random() < 0.45:
            gone = chance.sample(sorted(held), min(len(held), chance.choice((1, 1, 2, 7))))
            rows.remove([*gone, 10**9])  # and one that is not there
            held -= set(gone)
        else:
            new = range(next_key, next_key + chance.choice((1, 1, 3, 20)))
            rows.add(new, np.concatenate([row_of(key, kind) for key in new]))
            held |= set(new)
            next_key = new.stop
        assert len(rows) == len(held)
    keys = rows.keys()
    assert sorted(keys.tolist()) == sorted(held)
    stored = np.concatenate([rows.index.reconstruct(row)[np.newaxis] for row in range(len(keys))])
    assert (stored == np.concatenate([row_of(int(key), kind) for key in keys])).all()


@pytest.mark.timeout(20)
def test_who_removes_does_not_wait_for_a_search_which_leaves_the_face_out() -> None:
    rows = Rows(faiss.IndexFlatIP(8))
    rows.add([5, 6, 7], np.eye(3, 8, dtype=np.float32))
    with rows.searching() as rows_for:
        rows.remove([6])  # would wait for ever
        assert len(rows) == 2
        assert rows_for(2) == 3  # so that two are left
        found = dict(rows.names(np.array([0, 1, 2]), np.array([0.5, 0.4, 0.3])))
    assert found == {5: 0.5, 7: 0.3}
    assert rows.keys().tolist() == [5, 7]


def test_nothing_of_a_row_that_went_is_left_in_memory() -> None:
    rows = Rows(faiss.IndexFlatIP(8))
    rows.add([1, 2, 3], np.full((3, 8), [[1], [2], [3]], np.float32))
    memory = faiss.rev_swig_ptr(rows.index.codes.data(), 3 * 32)
    rows.remove([1])
    assert memory.view(np.float32).reshape(3, 8)[:, 0].tolist() == [3, 2, 0]
