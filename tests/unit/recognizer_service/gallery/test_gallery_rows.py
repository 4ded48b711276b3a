"""Rows of an index that come and go, and whose they are."""

import random
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from recognizer_service.gallery.index.rows import Rows

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
    with rows.searching() as count:
        assert count == 3
        rows.remove([6])  # would wait for ever
        assert len(rows) == 2
        keys, cosines = rows.present(np.array([0, 1, 2]), np.array([0.5, 0.4, 0.3]))
    assert (keys.tolist(), cosines.tolist()) == ([5, 7], [0.5, 0.3])
    assert rows.keys().tolist() == [5, 7]


@pytest.mark.timeout(20)
def test_who_adds_does_not_wait_for_a_search_and_the_next_one_finds_the_face() -> None:
    rows = Rows(faiss.IndexFlatIP(8))
    rows.add([5], np.eye(1, 8, dtype=np.float32))
    with rows.searching():
        rows.add([6, 7], np.eye(2, 8, k=1, dtype=np.float32))  # would wait for ever
        rows.add([8], np.eye(1, 8, k=3, dtype=np.float32))
        assert len(rows) == 4
        assert rows.index.ntotal == 1
    with rows.searching() as count:
        assert count == 4
        _, nearest = rows.index.search(np.eye(1, 8, k=2, dtype=np.float32), 1)
        keys, _ = rows.present(nearest[0], nearest[0])
    assert keys.tolist() == [7]


@pytest.mark.timeout(20)
def test_a_face_that_comes_and_goes_during_a_search_is_never_found() -> None:
    rows = Rows(faiss.IndexFlatIP(8))
    rows.add([5], np.eye(1, 8, dtype=np.float32))
    with rows.searching():
        rows.add([6, 7], np.eye(2, 8, k=1, dtype=np.float32))
        rows.remove([6])
        assert len(rows) == 2
    with rows.searching() as count:
        assert count == 2
        assert rows.present(np.arange(2), np.arange(2))[0].tolist() == [5, 7]
    assert rows.index.reconstruct(1).tolist() == [0, 0, 1, 0, 0, 0, 0, 0]


def test_details_stay_with_their_rows() -> None:
    rows = Rows(faiss.IndexBinaryFlat(64), detail_bytes=2)
    for key in range(5):
        rows.add([key], row_of(key, "bits"), np.array([[key, 10 * key]], np.uint8))
    rows.remove([1])
    with rows.searching() as count:
        every = np.arange(count)
        assert rows.present(every, every)[0].tolist() == [0, 4, 2, 3]
        contents = rows.contents(every)
    assert (contents[:, :8] == np.concatenate([row_of(key, "bits") for key in (0, 4, 2, 3)])).all()
    assert contents[:, 8:].tolist() == [[0, 0], [4, 40], [2, 20], [3, 30]]


def test_nothing_of_a_row_that_went_is_left_in_memory() -> None:
    rows = Rows(faiss.IndexFlatIP(8))
    rows.add([1, 2, 3], np.full((3, 8), [[1], [2], [3]], np.float32))
    memory = faiss.rev_swig_ptr(rows.index.codes.data(), 3 * 32)
    rows.remove([1])
    assert memory.view(np.float32).reshape(3, 8)[:, 0].tolist() == [3, 2, 0]
