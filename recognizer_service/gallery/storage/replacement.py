"""Replaces the file of a gallery by a copy with another key, or without one.

A crash at any moment leaves the old file or the new one under the gallery's name, complete, and
`finish` removes the other. The old file is overwritten before it is removed. The names of the two
end in "-new" and "-old".
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from recognizer_service.gallery.storage import faults
from recognizer_service.gallery.storage.sqlite_file import (
    close_alone,
    lock_path,
    open_alone,
    sync,
)
from shared.errors import FailedPrecondition, NotFound
from shared.private_files import PRIVATE, make_private
from shared.sqlite_files import connect, errors, export, primary_code
from shared.storage_key import StorageKey, check_key, is_encrypted

_CHUNK_BYTES = 1 << 20


def replace_key(gallery: Path, old: StorageKey | None, new: StorageKey | None) -> None:
    """Encrypt a gallery, decrypt it, or change its key.

    It needs as much disk space as the gallery, and nobody may have it open.

    Args:
        gallery: its file.
        old: its key; None: it is not encrypted.
        new: the key that it gets; None: it will not be encrypted.

    Raises:
        NotFound: there is no such gallery (GALLERY_NOT_FOUND).
        FailedPrecondition: it is open (GALLERY_IN_USE), has another name (GALLERY_LINKED), is
            encrypted although `old` is None (GALLERY_ENCRYPTED), or damaged (NOT_A_GALLERY); the
            old key is not that of the file, as in `check_key`; SQLCipher is not installed
            (EXTRA_MISSING).
        Overloaded, Unavailable: the storage has a fault; see `Database.try_writing`.
    """
    gallery = gallery.resolve()
    if not gallery.is_file():
        raise NotFound("GALLERY_NOT_FOUND", f"there is no gallery {str(gallery)!r}")
    with _alone(gallery) as descriptor:
        finish(gallery)
        header = os.pread(descriptor, 16, 0)
        if old is None and is_encrypted(header):
            raise FailedPrecondition(
                "GALLERY_ENCRYPTED", f"{gallery.name} is encrypted already; its key can be changed"
            )
        check_key(header, old, name=gallery.name)
        if os.fstat(descriptor).st_nlink > 1:
            raise FailedPrecondition(
                "GALLERY_LINKED",
                f"{gallery.name} has another name (a hard link), under which it would lose its "
                "content: remove that first",
            )
        copy = _beside(gallery, "-new")
        try:
            with _translated(gallery):
                _copy(gallery, copy, old, new)
            _destroy(_beside(gallery, "-journal"))  # not in effect, or it would be gone now
            sync(copy)
        except BaseException:
            _destroy(copy)
            raise
        os.link(gallery, _beside(gallery, "-old"))
        copy.rename(gallery)
        sync(gallery.parent)
        finish(gallery)


def finish(gallery: Path) -> None:
    """Remove what an interrupted replacement left; the caller has locked the path.

    The caller has not opened the database yet.
    """
    journal = _beside(gallery, "-journal")
    with suppress(FileNotFoundError), journal.open("rb") as file:
        if file.read(1) in {b"", b"\0"}:  # SQLite does not apply it, and leaves it there
            _destroy(journal)
    _destroy(_beside(gallery, "-new"))
    old = _beside(gallery, "-old")
    with suppress(FileNotFoundError):
        if old.samefile(gallery):  # interrupted just before the replacement
            old.unlink()
        else:
            _destroy(old)


def _beside(gallery: Path, ending: str) -> Path:
    return gallery.with_name(f"{gallery.name}{ending}")


def _destroy(path: Path) -> None:
    """Overwrite a file and remove it, if it exists."""
    with suppress(FileNotFoundError):
        with path.open("r+b", buffering=0) as file:
            left = os.fstat(file.fileno()).st_size
            while left > 0:
                left -= file.write(bytes(min(left, _CHUNK_BYTES)))
            os.fsync(file.fileno())
        path.unlink()
        sync(path.parent)


@contextmanager
def _alone(gallery: Path) -> Iterator[int]:
    """Lock the gallery; yields a descriptor of its file."""
    with lock_path(gallery):
        file = open_alone(gallery)
        try:
            yield file.fileno()
        finally:
            close_alone(file)


def _copy(gallery: Path, copy: Path, old: StorageKey | None, new: StorageKey | None) -> None:
    copy.touch(mode=PRIVATE)
    make_private(copy)
    with closing(connect(gallery, old, isolation_level=None)) as source:
        source.execute("PRAGMA busy_timeout = 3000").fetchall()
        # Without a log: that of the old file must not be applied to the new one.
        source.execute("PRAGMA journal_mode = DELETE").fetchall()
    export(gallery, copy, key=old, target_key=new)
    with closing(connect(copy, new, isolation_level=None)) as written:
        (finding,) = written.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise FailedPrecondition("NOT_A_GALLERY", f"{gallery.name} is damaged: {finding}")


@contextmanager
def _translated(gallery: Path) -> Iterator[None]:
    try:
        yield
    except errors() as error:
        match primary_code(error):
            case sqlite3.SQLITE_FULL:
                raise faults.disk_full(str(error)) from error
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                raise faults.locked(str(error)) from error
            case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY:
                raise faults.unavailable(str(error)) from error
        raise FailedPrecondition(
            "NOT_A_GALLERY", f"{gallery.name} cannot be read as a gallery: {error}"
        ) from error
