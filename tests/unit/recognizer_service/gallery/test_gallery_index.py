"""The forms of index, each against brute force."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from recognizer_service.gallery.index import FaceIndex
from recognizer_service.gallery.index.concurrency import Combining
from recognizer_service.gallery.index.flat import FlatIndex
from recognizer_service.gallery.index.local_cache import GrowingIndex, IndexForm, open_index
from recognizer_service.gallery.index.sketch import SketchIndex

FORMS: tuple[IndexForm, ...] = ("auto", "float32", "float16", "sketch")


class Stored:
    """Embeddings as a database would keep them, by key."""

    def __init__(self, count: int, *, size: int = 512) -> None:
        self.size = size
        vectors = np.random.default_rng(count).standard_normal((count, size))
        self.vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f")
        self.keys = list(range(10, 10 + count))

    def read(self, keys: Sequence[int]) -> tuple[list[int], NDArray[np.float32]]:
        found = [key for key in keys if key in self.keys]
        return found, self.vectors[[self.keys.index(key) for key in found]].reshape(-1, self.size)

    def probe(self, row: int, cosine: float) -> NDArray[np.float32]:
        """A unit vector at a cosine to one of them."""
        like = self.vectors[row]
        other = np.random.default_rng(row).standard_normal(self.size)
        other -= other @ like * like
        vector = cosine * like + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other)
        return np.asarray(vector, np.float32)


@pytest.fixture(params=FORMS)
def make(request: pytest.FixtureRequest) -> Callable[[Stored], FaceIndex]:
    def filled(stored: Stored) -> FaceIndex:
        index = open_index(request.param, stored.read, size=stored.size, threads=1)
        index.add(stored.keys, stored.vectors)
        return index

    return filled


@pytest.mark.parametrize("size", [512, 128, 100])
def test_the_nearest_face_is_found_with_its_cosine(
    make: Callable[[Stored], FaceIndex], size: int
) -> None:
    stored = Stored(2000, size=size)
    index = make(stored)
    for row in range(0, 2000, 100):
        nearest = index.nearest(stored.probe(row, 0.6), 4)
        assert next(iter(nearest)) == stored.keys[row]
        assert nearest[stored.keys[row]] == pytest.approx(0.6, abs=2e-3)
        assert list(nearest.values()) == sorted(nearest.values(), reverse=True)
        assert len(nearest) == 4


def test_what_is_removed_is_not_found(make: Callable[[Stored], FaceIndex]) -> None:
    stored = Stored(300)
    index = make(stored)
    index.remove(stored.keys[:100])
    assert len(index) == 200
    assert index.keys() == stored.keys[100:]
    nearest = index.nearest(stored.probe(5, 0.99), 300)
    assert sorted(nearest) == stored.keys[100:]


def test_an_empty_index_finds_nothing(make: Callable[[Stored], FaceIndex]) -> None:
    index = make(Stored(0))
    assert index.nearest(Stored(1).vectors[0], 3) == {}


def test_a_candidate_that_the_database_lacks_is_no_answer() -> None:
    stored = Stored(300)
    index = open_index("sketch", stored.read, size=512, threads=1)
    index.add(stored.keys, stored.vectors)
    probe = stored.probe(7, 0.9)
    del stored.keys[7]
    stored.vectors = np.delete(stored.vectors, 7, axis=0)
    assert 17 not in index.nearest(probe, 10)


@pytest.fixture(scope="module")
def many() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Many faces of few numbers, and probes at a cosine of 0.5 to the first of them."""
    drawn = np.random.default_rng(3).standard_normal((20_200, 64)).astype(np.float32)
    faces, others = np.split(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), [20_000])
    near = faces[: len(others)]
    others -= np.sum(others * near, axis=1, keepdims=True) * near
    return faces, 0.5 * near + 0.75**0.5 * others / np.linalg.norm(others, axis=1, keepdims=True)


def test_sketches_find_nearly_all_faces_and_read_few_embeddings(
    many: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    faces, probes = many
    read = list[int]()

    def reading(keys: Sequence[int]) -> tuple[list[int], NDArray[np.float32]]:
        read.append(len(keys))
        return list(keys), faces[keys]

    index = SketchIndex(reading, size=64, threads=1)
    index.add(range(len(faces)), faces)
    best = (faces @ probes.T).argmax(axis=0)
    found = [next(iter(index.nearest(probe, 1))) for probe in probes]
    assert np.mean(found == best) >= 0.97
    assert max(read) == 64
    assert len(index.nearest(probes[0], 20_000)) == 16_384  # what a database can be asked for
    assert max(read) == 16_384


def test_an_index_that_grows_keeps_what_it_holds() -> None:
    stored = Stored(500)
    index = GrowingIndex(
        FlatIndex(size=512, threads=1),
        (100, lambda: FlatIndex(size=512, threads=1, half=True)),
        (300, lambda: SketchIndex(stored.read, size=512, threads=1)),
    )
    for first in range(0, 500, 50):
        index.add(stored.keys[first : first + 50], stored.vectors[first : first + 50])
        held = first + 50
        assert index.keys() == stored.keys[:held]
        for row in (0, first, held - 1):
            assert next(iter(index.nearest(stored.probe(row, 0.6), 1))) == stored.keys[row]
    index.remove(stored.keys[::2])
    assert index.keys() == stored.keys[1::2]


def test_searches_at_once_get_their_own_answers(make: Callable[[Stored], FaceIndex]) -> None:
    stored = Stored(400)
    index = make(stored)
    with ThreadPoolExecutor(24) as executor:
        answers = executor.map(lambda row: index.nearest(stored.vectors[row], 1), range(400))
    assert [list(answer) for answer in answers] == [[key] for key in stored.keys]


def test_questions_that_wait_are_answered_together() -> None:
    batches: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def double(questions: Sequence[int]) -> list[int]:
        batches.append(len(questions))
        begun.set()
        assert go_on.wait(10)
        return [2 * question for question in questions]

    combining = Combining(double)
    with ThreadPoolExecutor(5) as executor:
        first = executor.submit(combining.ask, 1)
        assert begun.wait(10)
        others = [executor.submit(combining.ask, question) for question in (2, 3, 4, 5)]
        while len(combining) < 4:
            threading.Event().wait(0.01)
        go_on.set()
        assert [future.result(10) for future in (first, *others)] == [2, 4, 6, 8, 10]
    assert batches == [1, 4]


def test_an_error_reaches_whoever_asked() -> None:
    def fail(_: Sequence[int]) -> list[int]:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        Combining(fail).ask(1)
