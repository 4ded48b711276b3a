"""Whether anything of a deleted row can be read in the raw file, however rows were moved."""

import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from recognizer_service.gallery.databases.scrub import UnknownLayoutError, scrub

MARKER_BYTES = 24


@contextmanager
def opened(path: Path) -> Iterator[tuple[sqlite3.Connection, int]]:
    """A database as the gallery sets it up, and a descriptor of its file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("page_size = 8192", "journal_mode = WAL", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE people (key INTEGER PRIMARY KEY, name TEXT, face BLOB)")
        connection.execute("CREATE INDEX by_name ON people (name)")
        file = os.open(path, os.O_RDWR)
        yield connection, file
    os.close(file)


def clean(connection: sqlite3.Connection, file: int) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    roots = connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0").fetchall()
    scrub(file, [1, *(root for (root,) in roots)])


def live_and_deleted(connection: sqlite3.Connection, seed: int) -> tuple[set[bytes], set[bytes]]:
    """Insert, change and delete at random; the markers of rows that are there and are not."""
    chance = random.Random(seed)  # noqa: S311 - a reproducible load, no secret
    rows: dict[int, bytes] = {}
    gone: set[bytes] = set()
    for number in range(4000):
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


def test_without_it_there_would_be_traces(tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    path = tmp_path / "file.sqlite"
    with opened(path) as (connection, _):
        _, gone = live_and_deleted(connection, 0)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raw = path.read_bytes()
    assert [marker for marker in gone if marker in raw]


def test_a_page_that_belongs_to_no_tree_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite"
    with opened(path) as (connection, file):
        connection.execute("INSERT INTO people VALUES (1, 'spilling', zeroblob(1000000))")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = path.read_bytes()
        with pytest.raises(UnknownLayoutError, match="type"):
            scrub(file, [len(before) // 8192 // 2])  # in the middle of the blob
        assert path.read_bytes() == before
