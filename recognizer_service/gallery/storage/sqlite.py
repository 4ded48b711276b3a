"""A gallery in a SQLite file: opening, transactions, and erasing deleted bytes from disk.

A commit is durable when it returns (WAL with synchronous=FULL). One process owns a gallery, as the
search indexes are in its memory.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DatabaseError

from recognizer_service.gallery.limits import canonical, check_range, folded
from recognizer_service.gallery.storage import (
    Prune,
    faults,
    replacement,
    schema,
    write_and_undo,
)
from recognizer_service.gallery.storage.eraser import Eraser
from recognizer_service.gallery.storage.migrations import check_version, migrate
from recognizer_service.gallery.storage.scrub import MAX_PAGES
from recognizer_service.gallery.storage.sqlite_file import (
    Reserve,
    close_alone,
    lock_path,
    open_alone,
    storage_fault,
)
from shared.errors import FailedPrecondition, NotFound, Overloaded
from shared.sqlite_files import connect, driver, errors
from shared.storage_key import StorageKey, check_key

_PRAGMAS = (
    "page_size = 8192",  # three embeddings per page; set by the first connection only
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",
    "temp_store = MEMORY",  # no faces in temporary files
    "wal_autocheckpoint = 0",  # the eraser has to see every page written to the file
    f"max_page_count = {MAX_PAGES}",
)
LOCK_TIMEOUT_MS = 3000
"""How long a write waits for a lock of another process, in milliseconds."""
_IDLE_CONNECTIONS = 32


class SqliteDatabase:
    """The file of one gallery, shared by the threads of one process; see `Database`."""

    def __init__(self, path: Path, *, key: StorageKey | None = None, reserve: bool = False) -> None:
        """Open or create the database file and its folder; older versions are upgraded.

        Args:
            path: of the file.
            key: encrypts the file and its log; None: they are not encrypted.
            reserve: whether to keep disk space that only deletions may use; see `Reserve`.

        Raises:
            FailedPrecondition: another process has it open (GALLERY_IN_USE), it has a later
                version (GALLERY_TOO_NEW), or it is not a gallery (NOT_A_GALLERY); the key is not
                that of the file, as in `check_key`; SQLCipher is not installed (EXTRA_MISSING).
            Overloaded, Unavailable: the storage has a fault; see `Database.try_writing`.
        """
        path = path.resolve()  # SQLite's log is beside the file, not beside a link to it
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.exclusive = threading.Lock()
        self._fault = faults.WriteFault()
        self._eraser: Eraser | None = None
        self._file_lock = lock_path(path)
        try:
            # Keep the file open for the lifetime of this object: closing any descriptor of it would
            # drop SQLite's locks on it (POSIX).
            self._file = open_alone(path)
        except BaseException:
            self._file_lock.close()
            raise
        try:
            replacement.finish(path)
            check_key(os.pread(self._file.fileno(), 16, 0), key, name=path.name)
            driver(key)
        except BaseException:
            close_alone(self._file)
            self._file_lock.close()
            raise
        self._key = key
        self._engine = _engine(path, key)
        # Writers share one connection, so that there is only one page cache to drop.
        self._writer = _engine(path, key)
        try:
            self._reserve = Reserve(path) if reserve else None
            self._prepare(path)
        except BaseException:
            self.close()
            raise

    def _prepare(self, path: Path) -> None:
        try:
            with self._transaction(deleting=True) as connection:
                _bring_up_to_date(connection)
            self._eraser = Eraser(
                path,
                self._file.fileno(),
                connect=partial(_connect, path, self._key, "busy_timeout = 0"),
                encrypted=self._key is not None,
                exclusive=self.exclusive,
                reading=self.reading,
                writing=partial(self._transaction, deleting=True),
                forget=self._writer.dispose,
            )
        except DatabaseError as error:
            raise FailedPrecondition(
                "NOT_A_GALLERY", f"{path.name} cannot be read as a gallery: {error.orig}"
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open one read snapshot; see `Database`."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, deleting: bool = False) -> Iterator[Connection]:
        """Open one transaction; see `Database`."""
        with self._transaction(deleting=deleting) as connection:
            yield connection
        self._erasing.committed()

    @contextmanager
    def _transaction(self, *, deleting: bool) -> Iterator[Connection]:
        """Open a transaction of a writer.

        A writer waits for a locked file. After a timeout, later writers fail at once until the file
        is free again, as they would also wait for each other.
        """
        patience = 0 if self.fault else LOCK_TIMEOUT_MS
        options = self._writer.execution_options(begin="BEGIN IMMEDIATE", lock_timeout_ms=patience)
        with self._fault.noted():
            if self._reserve:
                self._reserve.prepare(deleting=deleting)
            try:
                with options.begin() as connection:
                    yield connection
            except Overloaded:  # as with a quota, which the free space does not show
                if deleting and self._reserve:
                    self._reserve.release()
                raise

    @property
    def _erasing(self) -> Eraser:
        assert self._eraser is not None  # set while open
        return self._eraser

    @property
    def fault(self) -> faults.StorageFault | None:
        """The fault of the last writes; see `Database`."""
        return self._fault.current

    def try_writing(self) -> None:
        """Test whether writes succeed; see `Database`."""
        with self.exclusive:
            with self.writing() as connection:
                write_and_undo(connection)
            self._fault.current = None

    def is_alone(self) -> bool:
        """Return True: only one process can have it open."""
        return True

    @property
    def erases(self) -> bool:
        """True; see `Database`."""
        return True

    def begin_erasing(self, prune: Prune) -> None:
        """Erase in the background; see `Database`."""
        self._erasing.begin(prune)

    def mark_erasure(self, connection: Connection) -> int:
        """Record a deletion; see `Database`."""
        return self._erasing.mark(connection)

    def erased(self, erasure: int, *, wait_s: float = 0) -> bool:
        """Return whether the bytes of a deletion are erased from disk; see `Database`."""
        check_range(erasure, 1, schema.MAX_KEY, "erasure")
        with self.reading() as connection:
            given = "SELECT seq FROM sqlite_sequence WHERE name = 'erasures'"
            if erasure > (connection.exec_driver_sql(given).scalar() or 0):
                raise NotFound(
                    "ERASURE_NOT_FOUND", f"there is no erasure {erasure}", field="erasure"
                )
        return self._erasing.is_done(erasure, wait_s=wait_s)

    def erasures_pending(self) -> int:
        """Return the number of unfinished erasures."""
        return self._erasing.pending()

    def problems(self) -> list[str]:
        """Return the problems that SQLite's own checks find; empty if the file is consistent."""
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
        """Finish small erasures, close all connections and release the gallery."""
        if self._file.closed:
            return
        if self._eraser:
            self._eraser.close()
        self._engine.dispose()
        self._writer.dispose()
        close_alone(self._file)
        self._file_lock.close()


def _engine(path: Path, key: StorageKey | None) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        module=driver(key),
        creator=partial(connect, path, key, check_same_thread=False),
        pool_size=_IDLE_CONNECTIONS,
        max_overflow=-1,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        _set_up(connection, f"busy_timeout = {LOCK_TIMEOUT_MS}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options: Any = connection.get_execution_options()
        if "begin" not in options:
            # It touches no file, so it cannot fail; SQLAlchemy would take ten times as long.
            connection.connection.cursor().execute("BEGIN").close()
            return
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {options['lock_timeout_ms']}")
        connection.exec_driver_sql(options["begin"])

    @event.listens_for(engine, "handle_error")
    def translate(context: ExceptionContext) -> None:
        original = context.original_exception
        if isinstance(original, errors()) and (fault := storage_fault(original)):
            raise fault from original

    return engine


def _connect(path: Path, key: StorageKey | None, *pragmas: str) -> sqlite3.Connection:
    connection = connect(path, key, check_same_thread=False)
    _set_up(connection, *pragmas)
    return connection


def _set_up(connection: sqlite3.Connection, *more: str) -> None:
    connection.isolation_level = None  # the driver's own BEGIN would be too late
    connection.create_function("canonical", 1, canonical, deterministic=True)
    connection.create_function("folded", 1, folded, deterministic=True)
    for pragma in (*_PRAGMAS, *more):
        connection.execute(f"PRAGMA {pragma}").close()


def _bring_up_to_date(connection: Connection) -> None:
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    check_version(version)
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
