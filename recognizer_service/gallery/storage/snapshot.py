"""Snapshot: a copy of a gallery's file, taken while it is served."""

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from recognizer_service.gallery.storage.rows import CONDEMNED_PREFIX
from shared.errors import AlreadyExists, FailedPrecondition, NotFound
from shared.private_files import PRIVATE, make_private


def snapshot(gallery: Path, target: Path) -> int:
    """Copy a gallery to a file, consistently; return the size of the copy in bytes.

    Any process may call it; changes continue meanwhile, but bytes deleted during the copy leave the
    log only afterwards. The copy is rewritten from the rows (VACUUM INTO), so it contains no
    deleted data. The target appears only when it is complete and durable. To restore a snapshot,
    serve it.

    Raises:
        NotFound: there is no such gallery (GALLERY_NOT_FOUND).
        AlreadyExists: the target exists (SNAPSHOT_EXISTS).
        FailedPrecondition: the file cannot be copied (SNAPSHOT_FAILED).
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
            _copy(gallery, partial)
        except sqlite3.Error as error:
            raise FailedPrecondition(
                "SNAPSHOT_FAILED", f"{gallery.name} could not be copied: {error}"
            ) from error
        _sync(partial)
        partial.rename(target)
    _sync(target.parent)
    return target.stat().st_size


def _copy(source: Path, target: Path) -> None:
    target.touch(mode=PRIVATE)
    make_private(target)
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        connection.execute("PRAGMA busy_timeout = 3000")
        connection.execute("VACUUM INTO ?", (str(target),))
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        _drop_condemned(connection)


def _drop_condemned(connection: sqlite3.Connection) -> None:
    """Remove the rows of deleted collections."""
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = MEMORY")  # an interrupted copy is discarded anyway
    condemned = (len(CONDEMNED_PREFIX), CONDEMNED_PREFIX)
    if connection.execute("DELETE FROM collections WHERE substr(id, 1, ?) = ?", condemned).rowcount:
        connection.execute("VACUUM")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
