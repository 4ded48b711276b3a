"""The file of a SQLite gallery, with its locks and its reserve, and snapshots of it.

A lock on a file beside the database excludes other processes, and ends with the process. A second
lock, on the database file itself, excludes processes that open it by another name, such as a hard
link. Only the owner can read the file.
"""

import fcntl
import os
import sqlite3
import tempfile
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

from recognizer_service.gallery.storage import faults
from recognizer_service.gallery.storage.rows import CONDEMNED_PREFIX
from shared.errors import AlreadyExists, FailedPrecondition, NotFound
from shared.private_files import PRIVATE, make_private
from shared.sqlite_files import connect, errors, export
from shared.storage_key import StorageKey, check_key

_SUFFIXES = ("-wal", "-shm")
RESERVE_BYTES = 16 << 20
"""Twice what the log holds before it is truncated."""

_held: set[tuple[int, int]] = set()
"""Device and inode of the files that this process has open."""
_holding = threading.Lock()


def open_alone(path: Path) -> IO[bytes]:
    """Open the file for reading and writing, created if missing, and lock it under any name.

    Raises:
        FailedPrecondition: it is open already (GALLERY_IN_USE).
    """
    with _holding:
        with suppress(FileNotFoundError):
            if _identity(path.stat()) in _held:  # closing it would drop the locks
                raise _in_use(path)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        try:
            _flock(file, path)
            for suffix in ("", *_SUFFIXES):
                make_private(path.with_name(f"{path.name}{suffix}"))
        except BaseException:
            file.close()
            raise
        _held.add(_identity(os.fstat(file.fileno())))
        return file


def close_alone(file: IO[bytes]) -> None:
    """Close a file from `open_alone`."""
    with _holding:
        _held.discard(_identity(os.fstat(file.fileno())))
        file.close()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def lock_path(path: Path) -> IO[bytes]:
    """Lock the path: if the file were replaced, another process would use this one's log.

    Raises:
        FailedPrecondition: another process holds it (GALLERY_IN_USE).
    """
    lock = path.with_name(f"{path.name}.lock")
    file = os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    try:
        _flock(file, path)
        make_private(lock)
    except BaseException:
        file.close()
        raise
    return file


def _flock(file: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(path) from None


def _in_use(path: Path) -> FailedPrecondition:
    return FailedPrecondition(
        "GALLERY_IN_USE", f"another process has the gallery {path.name!r} open"
    )


class Reserve:
    """Disk space of one database that only deletions may use; call it under the writer's lock.

    A deletion first needs space: it is written to the log, and the log, with what was enrolled
    before, to the database. The space is that of a file beside the database. A deletion that finds
    less free space than that removes the file; until it can be made again, all other writes are
    refused.
    """

    def __init__(self, database: Path) -> None:
        """Make the reserve of the database at this path, if there is room."""
        self._path = database.with_name(f"{database.name}-reserve")
        self._held = False
        self._make()

    def prepare(self, *, deleting: bool) -> None:
        """Give the space to a deletion if it may be needed; make the reserve again for others.

        Raises:
            Overloaded: there is no room for the reserve (GALLERY_DISK_FULL).
        """
        if deleting:
            if self._held and self._free() < RESERVE_BYTES:
                self.release()
        elif not self._held and not self._make():
            raise faults.disk_full(f"{RESERVE_BYTES} bytes are reserved for deletions")

    def release(self) -> None:
        """Give the space away."""
        if self._held:
            self._path.unlink(missing_ok=True)
            self._held = False

    def _make(self) -> bool:
        """Allocate the file; return whether there was room."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(file, 0, RESERVE_BYTES)
            self._held = True
        except OSError:
            self._path.unlink()
        finally:
            os.close(file)
        return self._held

    def _free(self) -> int:
        status = os.statvfs(self._path.parent)
        return status.f_bavail * status.f_frsize


def snapshot(gallery: Path, target: Path, *, key: StorageKey | None = None) -> int:
    """Copy a gallery to a file, consistently; return the size of the copy in bytes.

    Any process may call it; changes continue meanwhile, but bytes deleted during the copy leave the
    log only afterwards. The copy is rewritten from the rows (VACUUM INTO), so it contains no
    deleted data. The target appears only when it is complete and durable. To restore a snapshot,
    serve it. With a key, both files are encrypted with it.

    Raises:
        NotFound: there is no such gallery (GALLERY_NOT_FOUND).
        AlreadyExists: the target exists (SNAPSHOT_EXISTS).
        FailedPrecondition: the file cannot be copied (SNAPSHOT_FAILED), or the key is not that of
            the file, as in `check_key`.
    """
    if not gallery.is_file():
        raise NotFound("GALLERY_NOT_FOUND", f"there is no gallery {str(gallery)!r}")
    if target.exists():
        raise AlreadyExists(
            "SNAPSHOT_EXISTS", f"{str(target)!r} exists; choose another name or remove it"
        )
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        partial = Path(folder) / "snapshot"  # in a private folder, unreadable by others
        try:
            _copy(gallery, partial, key)
        except errors() as error:
            with gallery.open("rb") as file:
                check_key(file.read(16), key, name=gallery.name)
            raise FailedPrecondition(
                "SNAPSHOT_FAILED", f"{gallery.name} could not be copied: {error}"
            ) from error
        sync(partial)
        partial.rename(target)
    sync(target.parent)
    return target.stat().st_size


def _copy(source: Path, target: Path, key: StorageKey | None) -> None:
    target.touch(mode=PRIVATE)
    make_private(target)
    if key:  # VACUUM INTO ignores the page size of encrypted files
        export(source, target, key=key, target_key=key)
    else:
        with closing(connect(source, isolation_level=None)) as connection:
            connection.execute("PRAGMA busy_timeout = 3000")
            connection.execute("VACUUM INTO ?", (str(target),))
    with closing(connect(target, key, isolation_level=None)) as connection:
        _drop_condemned(connection)


def _drop_condemned(connection: sqlite3.Connection) -> None:
    """Remove the rows of deleted collections."""
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = MEMORY")  # an interrupted copy is discarded anyway
    condemned = (len(CONDEMNED_PREFIX), CONDEMNED_PREFIX)
    if connection.execute("DELETE FROM collections WHERE substr(id, 1, ?) = ?", condemned).rowcount:
        connection.execute("VACUUM")


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
