"""Searching while others enrol and delete: no error, no wrong answer."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Location
from shared.errors import AlreadyExists
from tests.gallery_faces import SPACE, embedding, from_similarity, person

RESIDENTS = 20
ROUNDS = 25


@pytest.fixture
def gallery(location: Location) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE) as opened:
        yield opened


def test_searches_are_right_while_others_enrol_and_delete(gallery: Gallery) -> None:
    """Residents are always found; a guest is found from enrolment until deletion, not after."""
    for seed in range(RESIDENTS):
        gallery.enroll("default", person(seed, name=f"Resident {seed}"))
    done = threading.Event()

    def best(seed: int) -> tuple[str, float]:
        hit = gallery.search("default", embedding(seed), count=1)[0]
        return hit.subject_id, hit.similarity

    def watch_residents() -> int:
        searches = 0
        while not done.is_set():
            seed = searches % RESIDENTS
            (hit,) = gallery.search("default", embedding(seed), count=1)
            assert (hit.subject_id, hit.display_name) == (f"person-{seed}", f"Resident {seed}")
            assert hit.similarity == pytest.approx(1, abs=1e-6)
            searches += 1
        return searches

    def come_and_go(first: int) -> None:
        for seed in range(first, first + ROUNDS):
            gallery.enroll("default", person(seed))
            assert best(seed) == (f"person-{seed}", pytest.approx(1, abs=1e-6))
            gallery.subjects.delete("default", f"person-{seed}")
            assert best(seed)[0] != f"person-{seed}"

    with ThreadPoolExecutor() as pool:
        watchers = [pool.submit(watch_residents) for _ in range(3)]
        guests = [pool.submit(come_and_go, first) for first in (1000, 2000)]
        try:
            for guest in guests:
                guest.result()
        finally:
            done.set()
        assert all(watcher.result() > 0 for watcher in watchers)
    report = gallery.check()
    assert (report.ok, report.faces, report.indexed) == (True, RESIDENTS, RESIDENTS)


def all_at_once(calls: list[Callable[[], object]]) -> list[object]:
    """The results of calls started together, or the AlreadyExists they raised."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        start.wait()
        try:
            return call()
        except AlreadyExists as error:
            return error.reason

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_one_request_sent_by_many_threads_enrols_once(gallery: Gallery) -> None:
    answers = all_at_once(
        [lambda: gallery.enroll("default", person(1), request_id="r").repeated] * 8
    )
    assert sorted(answers) == [False] + [True] * 7
    assert gallery.check().faces == 1


def test_of_many_duplicates_enrolled_at_once_one_gets_in(gallery: Gallery) -> None:
    answers = all_at_once(
        [
            lambda n=n: gallery.enroll(
                "default", person(1, subject_id=f"twin-{n}"), duplicates=from_similarity(0.9)
            )
            for n in range(8)
        ]
    )
    assert answers.count("DUPLICATE_FACE") == 7
    assert gallery.check().subjects == 1
