"""A gallery in a SQLite file: opening, transactions, and getting deleted bytes off the disk.

A commit is on the disk when it returns (WAL with synchronous=FULL). One process owns a gallery,
since the search indexes are a cache in its memory: a lock on a file beside the database keeps
others out and falls away with the process, however it ends.
"""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from sqlalchemy import Connection, Engine, create_engine, delete, event, func, select
from sqlalchemy.exc import DatabaseError

from recognizer_service.gallery import schema
from recognizer_service.gallery.databases.scrub import UnknownLayoutError, scrub
from recognizer_service.gallery.migrations import migrate
from shared.errors import FailedPrecondition

_PRAGMAS = (
    "page_size = 8192",  # three embeddings to a page; only the first connection's counts
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",
    "temp_store = MEMORY",  # no face in a temporary file
    "busy_timeout = 3000",
)
_IDLE_CONNECTIONS = 32
_ROOTS = "SELECT 1 UNION ALL SELECT rootpage FROM sqlite_master WHERE rootpage > 0"
_ERASE_TIMEOUT_S = 3.0
_ERASE_PAUSE_S = 0.05


class SqliteDatabase:
    """The file of one gallery, shared by the threads of one process; see `Database`."""

    def __init__(self, path: Path) -> None:
        """Open or create the database file, and its folder; one of an older version is upgraded.

        Raises:
            FailedPrecondition: another process has it (GALLERY_IN_USE), it is of a later
                version (GALLERY_TOO_NEW), or it is no gallery (NOT_A_GALLERY).
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.exclusive = threading.Lock()
        self._erasing = threading.Lock()
        self._file_lock = _lock(path)
        # Open as long as this object lives: to close any descriptor of the file would drop
        # the locks that SQLite holds on it (POSIX).
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT), "r+b", buffering=0)
        self._engine = _engine(path)
        self._writer = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        try:
            self._prepare(path)
        except BaseException:
            self.close()
            raise

    def _prepare(self, path: Path) -> None:
        try:
            with self.writing() as connection:
                _bring_up_to_date(connection)
        except DatabaseError as error:
            raise FailedPrecondition(
                "NOT_A_GALLERY", f"{path.name} cannot be read as a gallery: {error.orig}"
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot; see `Database`."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction; see `Database`."""
        with self._writer.begin() as connection:
            yield connection

    def is_alone(self) -> bool:
        """Always: one process has it."""
        return True

    def erase(self) -> bool:
        """Get the bytes of all committed deletions off the disk; whether that was done.

        Two things keep them there: the write-ahead log until it is truncated, and stale copies
        that SQLite leaves in the free middle of a page when it moves rows between pages
        (secure_delete does not reach those). So the log is cut, then what is free in the file
        overwritten. Deletions that wait here together share one pass.
        """
        _, mine = self._pending_erasures()
        with self._erasing:
            first, last = self._pending_erasures()
            if mine is None or first is None or first > mine:
                return True
            if not self._clean():
                return False
            with self.exclusive, self.writing() as connection:
                connection.execute(delete(schema.erasures).where(schema.erasures.c.key <= last))
            return True

    def _pending_erasures(self) -> tuple[int | None, int | None]:
        keys = schema.erasures.c.key
        with self.reading() as connection:
            first, last = connection.execute(select(func.min(keys), func.max(keys))).one()
        return first, last

    def _clean(self) -> bool:
        with self.exclusive:
            with closing(self._engine.raw_connection()) as pooled:
                connection = cast(sqlite3.Connection, pooled.driver_connection)
                if not _truncate_log(connection):
                    return False
                try:
                    scrub(self._file.fileno(), [root for (root,) in connection.execute(_ROOTS)])
                except UnknownLayoutError:
                    return _rewrite(connection)
            # No connection may write a page again as it had it in its cache.
            self._engine.dispose()
        return True

    def problems(self) -> list[str]:
        """What SQLite's own checks find wrong with the file; nothing if it is sound."""
        with self.reading() as connection:
            findings = connection.exec_driver_sql("PRAGMA integrity_check").scalars()
            strays = connection.exec_driver_sql("PRAGMA foreign_key_check")
            return [
                *(f"integrity_check: {finding}" for finding in findings if finding != "ok"),
                *(
                    f"row {row} of {table} points to a missing row of {parent}"
                    for table, row, parent, _ in strays
                ),
            ]

    def close(self) -> None:
        """Close all connections and let others open the gallery."""
        self._engine.dispose()
        self._file.close()
        self._file_lock.close()


def _truncate_log(connection: sqlite3.Connection) -> bool:
    """Whether the write-ahead log could be cut before too long; a reader may hold it."""
    deadline = time.monotonic() + _ERASE_TIMEOUT_S
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > deadline:
            return False
        time.sleep(_ERASE_PAUSE_S)
    return True


def _rewrite(connection: sqlite3.Connection) -> bool:
    """Whether the file could be written anew, for a file that cannot be cleaned in place."""
    try:
        connection.execute("VACUUM")
    except sqlite3.OperationalError:  # the disk has no room for a second copy
        return False
    return _truncate_log(connection)


def _lock(path: Path) -> IO[bytes]:
    file = path.with_name(f"{path.name}.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise FailedPrecondition(
            "GALLERY_IN_USE", f"another process has the gallery {path.name!r} open"
        ) from None
    return file


def _engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}", pool_size=_IDLE_CONNECTIONS, max_overflow=-1, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would come too late
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options: Any = connection.get_execution_options()
        connection.exec_driver_sql(options.get("begin", "BEGIN"))

    return engine


def _bring_up_to_date(connection: Connection) -> None:
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version > schema.VERSION:
        raise FailedPrecondition(
            "GALLERY_TOO_NEW",
            f"the gallery has schema version {version}; this program knows versions up to "
            f"{schema.VERSION}: run a newer program, or restore an older gallery",
        )
    if version == schema.VERSION:
        return
    if version:
        migrate(connection, version)
    elif connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
        raise FailedPrecondition(
            "NOT_A_GALLERY", "the database holds tables, but not those of a gallery"
        )
    else:
        schema.metadata.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version = {schema.VERSION}")
