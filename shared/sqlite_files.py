"""Connections to SQLite files, plain or encrypted with SQLCipher, and their errors.

SQLCipher encrypts every page of the file and of its write-ahead log with AES-256 and authenticates
it. Its driver has the interface of `sqlite3`, but exceptions of its own.
"""

import sqlite3
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from shared.errors import FailedPrecondition
from shared.storage_key import StorageKey

PAGE_BYTES = 8192
"""Page size of encrypted files, and of copies."""

_DRIVER = "sqlcipher3.dbapi2"
_PRIMARY_CODE = 0xFF  # the other bits refine the code


def driver(key: StorageKey | None) -> ModuleType:
    """Return the DB-API module for files with a key, or without one.

    Raises:
        FailedPrecondition: SQLCipher is not installed (EXTRA_MISSING).
    """
    return _cipher() if key else sqlite3


def _cipher() -> ModuleType:
    try:
        return import_module(_DRIVER)
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            "EXTRA_MISSING", "encryption needs sqlcipher3; install compactface[encryption]"
        ) from error


def connect(path: Path, key: StorageKey | None = None, **options: Any) -> sqlite3.Connection:
    """Open a connection; check the key with `check_key` first.

    Args:
        path: of the file, created if missing.
        key: its key; None: it is not encrypted.
        options: as of `sqlite3.connect`.

    Raises:
        FailedPrecondition: SQLCipher is not installed (EXTRA_MISSING).
    """
    connection = driver(key).connect(path, **options)
    if key:
        _unlock(connection, key)
    return cast("sqlite3.Connection", connection)  # with the same methods


def export(
    source: Path, target: Path, *, key: StorageKey | None, target_key: StorageKey | None
) -> None:
    """Copy a database consistently to a new file, written from the rows, with its own key or none.

    Args:
        source: the database; others may write to it meanwhile.
        target: an empty file, or none yet.
        key: of the source; None: it is not encrypted.
        target_key: of the target; None: it will not be encrypted.

    Raises:
        FailedPrecondition: SQLCipher is not installed (EXTRA_MISSING).
    """
    with closing(_cipher().connect(source, isolation_level=None)) as connection:
        if key:
            _unlock(connection, key)
        _set_page_size(connection)
        connection.execute("PRAGMA busy_timeout = 3000").fetchall()
        literal = _literal(target_key) if target_key else ""
        connection.execute("ATTACH ? AS target KEY ?", (str(target), literal)).close()
        if not target_key:
            connection.execute(f"PRAGMA target.page_size = {PAGE_BYTES}").close()
        # No file beside the target: an interrupted copy is discarded anyway.
        connection.execute("PRAGMA target.journal_mode = OFF").fetchall()
        connection.execute("BEGIN").close()
        connection.execute("SELECT sqlcipher_export('target')").fetchall()
        (version,) = connection.execute("PRAGMA main.user_version").fetchone()
        connection.execute(f"PRAGMA target.user_version = {version}").close()
        connection.execute("COMMIT").close()


def _unlock(connection: Any, key: StorageKey) -> None:
    # The log would print the errors that are raised anyway.
    connection.execute("PRAGMA cipher_log_level = NONE").close()
    _set_page_size(connection)
    connection.execute(f'PRAGMA key = "{_literal(key)}"').close()


def _set_page_size(connection: Any) -> None:
    """Set the page size of all encrypted files from now on, attached and temporary ones included.

    With `cipher_page_size`, which is that of one file, VACUUM damages a database that is larger
    than the cache, since its temporary file has pages of another size.
    """
    connection.execute(f"PRAGMA cipher_default_page_size = {PAGE_BYTES}").close()


def _literal(key: StorageKey) -> str:
    """The key as SQLCipher takes it, with the salt of the file."""
    return f"x'{key.secret.hex()}{key.salt.hex()}'"


def write_anew(connection: sqlite3.Connection, folder: Path) -> None:
    """Rewrite an encrypted database from its rows, all at once (VACUUM).

    Unlike any other temporary file, that of VACUUM is encrypted like the database.

    Args:
        connection: to the database.
        folder: for the temporary file, which is as large as the database.
    """
    name = str(folder).replace("'", "''")
    connection.execute(f"PRAGMA temp_store_directory = '{name}'").close()
    connection.execute("PRAGMA temp_store = FILE").close()
    try:
        connection.execute("VACUUM").close()
    finally:
        connection.execute("PRAGMA temp_store = MEMORY").close()


def errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """The base classes of the errors of both drivers, and others, for `except`."""
    cipher = sys.modules.get(_DRIVER)
    return (sqlite3.Error, *([cipher.Error] if cipher else []), *others)


def error_code(error: BaseException) -> int:
    """Return SQLite's extended code of an error; SQLITE_OK: it is none of SQLite's."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)  # drivers have own errors
    return code


def primary_code(error: BaseException) -> int:
    """Return SQLite's primary code of an error; see `error_code`."""
    return error_code(error) & _PRIMARY_CODE
