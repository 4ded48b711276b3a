"""The file of the spool: an SQLite database in a folder of its own.

Only one process may open the folder. An unreadable file is set aside and replaced: a damaged disk
must not stop a camera.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import structlog

from shared.errors import FailedPrecondition, Overloaded, Unavailable
from shared.private_files import make_private
from shared.sqlite_files import connect, errors, primary_code
from shared.storage_key import StorageKey, check_key

T = TypeVar("T")

_log = structlog.get_logger(__name__)

FILE = "spool.sqlite"
SET_ASIDE = f"{FILE}.damaged"
"""Name under which an unreadable file is kept; it replaces the previous one."""

_SUFFIXES = ("", "-wal", "-shm")
_VERSION = 1
_SCHEMA = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE maps (
        key INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which they came
        id TEXT NOT NULL UNIQUE,
        message BLOB NOT NULL,
        taken_at REAL NOT NULL,  -- by the clock of this file
        failures INTEGER NOT NULL DEFAULT 0,
        aside INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX maps_set_aside ON maps (key) WHERE aside;
    CREATE TABLE clock (seconds REAL NOT NULL);
    INSERT INTO clock VALUES (0);
    PRAGMA user_version = {_VERSION};
    COMMIT;
"""  # noqa: S608 - no input
_RETRY_AFTER_S = 5.0
# The statements are valid, so a plain "error" means a file with other tables.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


class SpoolFile:
    """Opens the database, locks its folder, and replaces a damaged file.

    Attributes:
        database: the connection; another one after a file was replaced.
        damaged: number of files set aside since the first was opened.
    """

    database: sqlite3.Connection

    def __init__(
        self,
        folder: Path,
        *,
        key: StorageKey | None = None,
        durable: bool,
        opened: Callable[[sqlite3.Connection], None],
    ) -> None:
        """Open the file, or create it.

        Args:
            folder: folder of the files; created with access for the owner only.
            key: encrypts the file; None: it is not encrypted.
            durable: whether commits survive a loss of power.
            opened: called with every new connection.

        Raises:
            FailedPrecondition: another process uses it (SPOOL_IN_USE), or a later version created
                it (SPOOL_TOO_NEW); the key is not that of the file, as in `check_key`.
            Unavailable: SPOOL_UNAVAILABLE; the folder is not usable.
            Overloaded: UPLINK_FULL; the disk is full.
        """
        self._folder = folder
        self._key = key
        self._durable = durable
        self._opened = opened
        self.damaged = 0
        try:
            _make_folder(folder)
            self._lock = _lock(folder)
        except OSError as error:
            raise _unavailable(folder, error) from error
        try:
            with self.translated():
                self._open_or_begin_anew()
        except BaseException:
            self._lock.close()
            raise

    def try_twice(self, work: Callable[[], T]) -> T:
        """Call `work`; if the file turns out to be damaged, replace it and call again."""
        with self.translated():
            try:
                return work()
            except errors() as error:
                if not _is_damaged(error):
                    raise
                self._begin_anew(error)
                return work()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate SQLite's errors to domain errors."""
        try:
            yield
        except errors(OSError) as error:
            if primary_code(error) == sqlite3.SQLITE_FULL:
                raise Overloaded(
                    "UPLINK_FULL",
                    f"the disk of the spool in {self._folder} is full; maps for the recognizer "
                    "cannot be kept",
                    retry_after_s=_RETRY_AFTER_S,
                ) from error
            raise _unavailable(self._folder, error) from error

    def close(self) -> None:
        """Close the file and release the folder."""
        self.database.close()
        self._lock.close()

    def _open_or_begin_anew(self) -> None:
        try:
            self._open()
        except errors() as error:
            if not _is_damaged(error):
                raise
            self._begin_anew(error)

    def _begin_anew(self, error: Exception) -> None:
        """Set a damaged file aside and create a new one."""
        self.database.close()
        for suffix in _SUFFIXES:
            damaged = self._folder / f"{FILE}{suffix}"
            aside = self._folder / f"{SET_ASIDE}{suffix}"
            aside.unlink(missing_ok=True)
            if damaged.exists():
                damaged.replace(aside)
        self.damaged += 1
        _log.error("spool_damaged", set_aside=str(self._folder / SET_ASIDE), error=str(error))
        self._open()

    def _open(self) -> None:
        path = self._folder / FILE
        # SQLite's log inherits the mode.
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "rb") as file:
            check_key(file.read(16), self._key, name=str(path))
        for suffix in _SUFFIXES:
            make_private(path.with_name(f"{path.name}{suffix}"))
        self.database = connect(
            path, self._key, isolation_level=None, check_same_thread=False, timeout=0
        )
        for pragma in (
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            f"synchronous = {'FULL' if self._durable else 'NORMAL'}",
            "secure_delete = ON",
            "temp_store = MEMORY",
        ):
            self.database.execute(f"PRAGMA {pragma}").close()
        self._check()
        _sync_folder(self._folder)
        self._opened(self.database)

    def _check(self) -> None:
        """Reject a damaged file or one of a later version; initialize an empty one."""
        (version,) = self.database.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise FailedPrecondition(
                "SPOOL_TOO_NEW",
                f"the spool in {self._folder} has version {version}; this program knows versions "
                f"up to {_VERSION}: run a newer program, or take the folder away",
            )
        (finding,) = self.database.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise _damage(finding)
        if not version:
            self.database.executescript(_SCHEMA)


def _is_damaged(error: Exception) -> bool:
    return primary_code(error) in _DAMAGED


def _damage(finding: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(finding)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _unavailable(folder: Path, error: Exception) -> Unavailable:
    return Unavailable(
        "SPOOL_UNAVAILABLE",
        f"the spool in {folder} cannot be used: {error}",
        retry_after_s=_RETRY_AFTER_S,
    )


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Sync the folder, so that file names survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> IO[bytes]:
    """Lock the folder; the lock ends with the process."""
    path = folder / f"{FILE}.lock"
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise FailedPrecondition(
            "SPOOL_IN_USE", f"another process has the spool in {folder} open"
        ) from None
    make_private(path)
    return file
