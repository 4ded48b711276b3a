"""A system clock that jumps deletes nothing."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.sightings.types import Sighting
from recognizer_service.gallery.storage.locations import Location
from tests.gallery_faces import SPACE, person, store

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Machine:
    """A machine with a real time, and a system clock that may be wrong by some time."""

    def __init__(self) -> None:
        self.time = START
        self.wrong_by = timedelta(0)

    def system(self) -> datetime:
        return self.time + self.wrong_by

    def elapsed_s(self) -> float:
        return self.time.timestamp()


@pytest.fixture
def machine() -> Machine:
    return Machine()


Opened = Callable[..., AbstractContextManager[Gallery]]


@pytest.fixture
def opened(location: Location, machine: Machine) -> Opened:
    @contextmanager
    def open_gallery(confirmed: datetime | None = None) -> Iterator[Gallery]:
        with Gallery(
            location,
            embedding_space=SPACE,
            audit_retention=30 * DAY,
            now=machine.system,
            elapsed_s=machine.elapsed_s,
            clock_confirmed=confirmed,
        ) as gallery:
            yield gallery

    return open_gallery


SIGHTING = Sighting("9f6f3f0e-2f4a-4d3b-9d5c-0a1b2c3d4e5f", "door", "00112233aabbccdd", b"map")
ANN = replace(person(1, subject_id="ann"), expires_at=START + 90 * DAY)


def fill(gallery: Gallery) -> None:
    """One of everything that expires: after 7, 30 and 90 days."""
    gallery.collections.create("site", sighting_retention_s=7 * 24 * 3600)
    store(gallery, "site", SIGHTING)
    gallery.enroll("site", ANN, caller="gate", request_id="first")
    gallery.purge_expired()


def assert_all_there(gallery: Gallery) -> None:
    purged = gallery.purge_expired()
    gone = (purged.sightings, purged.subjects, purged.request_ids, purged.audit_events)
    assert gone == (0, 0, 0, 0)
    assert gallery.sightings.find("site", [SIGHTING.sighting_id])[0].sighting == SIGHTING
    assert gallery.subjects.get("site", "ann")
    assert gallery.enroll("site", ANN, caller="gate", request_id="first").repeated


def test_a_clock_that_runs_ahead_for_a_minute_deletes_nothing(
    opened: Opened, machine: Machine
) -> None:
    with opened() as gallery:
        fill(gallery)
        machine.wrong_by = 400 * DAY
        for _ in range(3):
            machine.time += timedelta(seconds=30)
            assert_all_there(gallery)
        assert gallery.clock.is_doubted
        machine.wrong_by = timedelta(0)
        assert_all_there(gallery)
        assert not gallery.clock.is_doubted


def test_nor_does_one_that_is_ahead_when_the_process_starts(
    opened: Opened, machine: Machine
) -> None:
    with opened() as gallery:
        fill(gallery)
    machine.wrong_by = 400 * DAY
    for _ in range(2):
        with opened() as gallery:
            machine.time += HOUR
            assert_all_there(gallery)
            assert gallery.clock.is_doubted


def test_data_expire_by_elapsed_time_while_the_clock_is_doubted(
    opened: Opened, machine: Machine
) -> None:
    with opened() as gallery:
        fill(gallery)
        machine.wrong_by = 400 * DAY
        assert_all_there(gallery)
        for _ in range(6):
            machine.time += DAY
            machine.wrong_by += 2 * HOUR  # never even
            assert_all_there(gallery)
        machine.time += DAY
        machine.wrong_by += 2 * HOUR
        purged = gallery.purge_expired()
        assert (purged.sightings, purged.request_ids, purged.subjects) == (1, 1, 0)
        assert gallery.clock.is_doubted


def test_a_clock_that_runs_evenly_for_a_day_is_believed(opened: Opened, machine: Machine) -> None:
    """The machine was off for a year."""
    with opened() as gallery:
        fill(gallery)
    machine.wrong_by = 365 * DAY
    with opened() as gallery:
        for _ in range(24):
            assert_all_there(gallery)
            machine.time += HOUR
        assert gallery.purge_expired().subjects == 1
        assert not gallery.clock.is_doubted


def test_a_clock_that_jumps_again_starts_its_day_anew(opened: Opened, machine: Machine) -> None:
    with opened() as gallery:
        fill(gallery)
        machine.wrong_by = 365 * DAY
        for _ in range(23):
            assert_all_there(gallery)
            machine.time += HOUR
        machine.wrong_by += 30 * DAY
        for _ in range(23):
            assert_all_there(gallery)
            machine.time += HOUR


def test_the_operator_confirms_a_clock_by_the_right_time(opened: Opened, machine: Machine) -> None:
    with opened() as gallery:
        fill(gallery)
    machine.wrong_by = 365 * DAY
    with opened(confirmed=machine.system() - 2 * DAY) as gallery:
        assert_all_there(gallery)
    with opened(confirmed=machine.system() - HOUR) as gallery:
        purged = gallery.purge_expired()
        assert (purged.sightings, purged.subjects) == (1, 1)


def test_after_a_week_off_data_expire_at_once(opened: Opened, machine: Machine) -> None:
    with opened() as gallery:
        fill(gallery)
    machine.wrong_by = 7 * DAY
    with opened() as gallery:
        assert gallery.purge_expired().sightings == 1


def test_small_corrections_are_followed(opened: Opened, machine: Machine) -> None:
    with opened() as gallery:
        fill(gallery)
        for _ in range(3):
            machine.wrong_by += timedelta(minutes=55)
            gallery.purge_expired()
            assert not gallery.clock.is_doubted
        machine.wrong_by = timedelta(0)
        gallery.purge_expired()
        assert gallery.clock.is_doubted


def test_what_is_stored_by_a_clock_that_was_reset_does_not_expire_when_it_is_set(
    opened: Opened, machine: Machine
) -> None:
    """A machine without a battery starts in 1970."""
    with opened() as gallery:
        gallery.purge_expired()
    machine.wrong_by = datetime(1970, 1, 1, tzinfo=UTC) - START
    with opened() as gallery:
        fill(gallery)
        machine.wrong_by = timedelta(0)
        machine.time += HOUR
        assert_all_there(gallery)
