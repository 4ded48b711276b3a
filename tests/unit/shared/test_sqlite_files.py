"""The errors of both drivers have SQLite's codes."""

import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from shared.errors import FailedPrecondition
from shared.sqlite_files import connect, driver, errors, primary_code, write_anew
from shared.storage_key import StorageKey
from tests.ciphered import KEY


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def key(request: pytest.FixtureRequest) -> StorageKey | None:
    given: StorageKey | None = request.param
    return given


def code_of(connection: sqlite3.Connection, statement: str, *values: object) -> int:
    with pytest.raises(errors()) as caught:
        connection.execute(statement, values).fetchall()
    return primary_code(caught.value)


def test_errors_have_their_codes(tmp_path: Path, key: StorageKey | None) -> None:
    path = tmp_path / "file"
    with (
        closing(connect(path, key, isolation_level=None, timeout=0)) as first,
        closing(connect(path, key, isolation_level=None, timeout=0)) as second,
    ):
        first.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, x BLOB)")
        first.execute("INSERT INTO t VALUES (1, NULL)")
        assert code_of(first, "SELECT * FROM missing") == sqlite3.SQLITE_ERROR
        first.execute("BEGIN IMMEDIATE")
        assert code_of(second, "BEGIN IMMEDIATE") == sqlite3.SQLITE_BUSY
        first.execute("ROLLBACK")
        first.execute("PRAGMA max_page_count = 3")
        assert code_of(first, "INSERT INTO t VALUES (2, zeroblob(99999))") == sqlite3.SQLITE_FULL
        second.execute("PRAGMA query_only = ON")
        assert code_of(second, "DELETE FROM t") == sqlite3.SQLITE_READONLY
        assert code_of(first, "INSERT INTO t VALUES (1, NULL)") == sqlite3.SQLITE_CONSTRAINT


def test_a_file_that_is_no_database_is_told(tmp_path: Path, key: StorageKey | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"no database " * 1000)
    with closing(connect(path, key)) as connection:
        assert code_of(connection, "SELECT * FROM sqlite_master") == sqlite3.SQLITE_NOTADB


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path, key: StorageKey | None) -> None:
    with pytest.raises(errors()) as caught:
        connect(tmp_path / "no folder" / "file", key).execute("SELECT 1 FROM sqlite_master")
    assert primary_code(caught.value) == sqlite3.SQLITE_CANTOPEN


def test_a_large_database_is_written_anew_and_its_temporary_file_is_encrypted(
    tmp_path: Path,
) -> None:
    seen: list[bytes] = []

    def look() -> None:
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if str(entry.readlink()).startswith(f"{tmp_path}/etilqs"):
                    seen.append(entry.read_bytes())

    with closing(connect(tmp_path / "file", KEY, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (x BLOB)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t VALUES (?)", [(b"a name " * 500,)] * 6000)
        connection.execute("COMMIT")
        connection.set_progress_handler(look, 2000)
        write_anew(connection, tmp_path)
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    with closing(connect(tmp_path / "file", KEY)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA cipher_integrity_check").fetchall() == []
        assert connection.execute("SELECT count(*), min(x), max(x) FROM t").fetchone() == (
            6000,
            *(b"a name " * 500,) * 2,
        )
    assert max(map(len, seen)) > 1 << 20
    assert not any(b"a name " in content for content in seen)


def test_errors_of_others_have_no_code() -> None:
    driver(KEY)
    assert primary_code(ValueError("database is locked")) == sqlite3.SQLITE_OK


def test_without_the_extra_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlcipher3.dbapi2", None)
    with pytest.raises(FailedPrecondition, match=r"compactface\[encryption\]") as caught:
        driver(KEY)
    assert caught.value.reason == "EXTRA_MISSING"
    assert driver(None) is sqlite3
