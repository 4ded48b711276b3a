"""Whether anything of a deleted row can be read in the raw file, however rows were moved."""

import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from recognizer_service.gallery.storage.scrub import Scrubber, UnknownLayoutError, logged_pages

MARKER_BYTES = 24


@contextmanager
def opened(path: Path) -> Iterator[tuple[sqlite3.Connection, int]]:
    """A database as the gallery sets it up, and a descriptor of its file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in (
            "page_size = 8192",
            "journal_mode = WAL",
            "secure_delete = ON",
            "synchronous = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE people (key INTEGER PRIMARY KEY, name TEXT, face BLOB)")
        connection.execute("CREATE INDEX by_name ON people (name)")
        file = os.open(path, os.O_RDWR)
        yield connection, file
    os.close(file)


def clean(connection: sqlite3.Connection, file: int) -> None:
    """The whole file."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    scrubber = Scrubber(file)
    scrubber.scrub(range(1, scrubber.pages + 1), free=scrubber.free_pages())


def live_and_deleted(
    connection: sqlite3.Connection, seed: int, each: Callable[[], None] = lambda: None
) -> tuple[set[bytes], set[bytes]]:
    """Insert, change and delete at random, and do `each` between; the markers of rows that are
    there and are not.
    """
    chance = random.Random(seed)  # noqa: S311 - a reproducible load, no secret
    rows: dict[int, bytes] = {}
    gone: set[bytes] = set()
    for number in range(4000):
        if number % 100 == 0:
            each()
        deed = chance.random()
        if rows and deed < 0.42:
            doomed = chance.choice([*rows])
            gone.add(rows.pop(doomed))
            connection.execute("DELETE FROM people WHERE key = ?", (doomed,))
        elif rows and deed < 0.5:
            changed = chance.choice([*rows])
            face = rows[changed] * chance.randint(12, 800)  # some spill over into other pages
            connection.execute("UPDATE people SET face = ? WHERE key = ?", (face, changed))
        else:
            key = chance.randrange(10**6) * 10**4 + number  # unique, and in no order
            rows[key] = marker = chance.randbytes(MARKER_BYTES // 2).hex().encode()
            row = (key, marker.decode(), marker * chance.randint(12, 87))
            connection.execute("INSERT INTO people VALUES (?, ?, ?)", row)
    return set(rows.values()), gone


@pytest.mark.parametrize("seed", range(4))
def test_nothing_of_deleted_rows_is_left_and_everything_else_is(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "file.sqlite"
    with opened(path) as (connection, file):
        live, gone = live_and_deleted(connection, seed)
        content = connection.execute("SELECT * FROM people ORDER BY key").fetchall()
        clean(connection, file)
        raw = path.read_bytes()
        assert not [marker for marker in gone if marker in raw]
        assert all(marker in raw for marker in live)
    with closing(sqlite3.connect(path)) as connection:  # with nothing in its cache
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT * FROM people ORDER BY key").fetchall() == content


@pytest.mark.parametrize("seed", range(4))
def test_the_pages_in_the_log_are_all_that_need_it(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "file.sqlite"
    scrubbed: list[int] = []
    with opened(path) as (connection, file):
        connection.execute("PRAGMA wal_autocheckpoint = 0")

        def clean_logged() -> None:
            pages = logged_pages(path.with_name("file.sqlite-wal"))
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            scrubber = Scrubber(file)
            scrubber.scrub(sorted(pages))
            scrubbed.append(len(pages))
            with closing(sqlite3.connect(path)) as other:  # so that the first forgets its cache
                other.execute(f"PRAGMA user_version = {len(scrubbed)}")

        live, gone = live_and_deleted(connection, seed, clean_logged)
        clean_logged()
        raw = path.read_bytes()
    assert not [marker for marker in gone if marker in raw]
    assert all(marker in raw for marker in live)
    assert sum(scrubbed[-5:]) / 5 < len(raw) // 8192  # else it would prove nothing


def left_in(path: Path) -> list[int]:
    """Which of the rows that are deleted below can be read."""
    raw = path.read_bytes()
    return [number for number in range(190) if b"<%06d>" % number in raw]


def test_pages_that_became_free_without_being_overwritten_are(tmp_path: Path) -> None:
    """As another program leaves them, that does not know of secure_delete."""
    path = tmp_path / "file.sqlite"
    with opened(path) as (connection, file):
        connection.execute("PRAGMA secure_delete = OFF")
        for number in range(200):
            row = (number, f"name-{number}", b"<%06d>" % number * 150)
            connection.execute("INSERT INTO people VALUES (?, ?, ?)", row)
        connection.execute("DELETE FROM people WHERE key < 190")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert left_in(path)
        clean(connection, file)
        assert not left_in(path)
        assert connection.execute("SELECT count(*) FROM people").fetchone() == (10,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_without_it_there_would_be_traces(tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    path = tmp_path / "file.sqlite"
    with opened(path) as (connection, _):
        _, gone = live_and_deleted(connection, 0)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raw = path.read_bytes()
    assert [marker for marker in gone if marker in raw]


def test_a_file_that_lists_the_parents_of_its_pages_is_left_alone(tmp_path: Path) -> None:
    """Those lists begin as pages of trees do."""
    path = tmp_path / "file.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = FULL")
        connection.execute("CREATE TABLE people (name TEXT)")
    file = os.open(path, os.O_RDWR)
    with pytest.raises(UnknownLayoutError, match="auto_vacuum"):
        Scrubber(file)
    os.close(file)


def test_a_page_that_is_not_as_it_should_be_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite"
    with opened(path) as (connection, file):
        connection.execute("INSERT INTO people VALUES (1, 'ann', zeroblob(100))")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.pwrite(file, b"\xff\xff", 8192 + 3)  # the second page has 65535 cells, it says
        before = path.read_bytes()
        with pytest.raises(UnknownLayoutError, match="65535 cells"):
            Scrubber(file).scrub([2])
        assert path.read_bytes() == before


def test_long_rows_are_left_alone_whatever_they_hold(tmp_path: Path) -> None:
    """Pages of overflow hold anything, the bytes of a page of a tree included."""
    path = tmp_path / "file.sqlite"
    tree_page = bytes([0x0D, 0, 0, 0, 1]) + bytes(8187)
    with opened(path) as (connection, file):
        connection.execute("INSERT INTO people VALUES (1, 'ann', ?)", (tree_page * 40,))
        clean(connection, file)
        (face,) = connection.execute("SELECT face FROM people").fetchone()
    assert face == tree_page * 40
