"""Disk space that only deletions may use.

A deletion first needs space: it is written to the log, and the log, with what was enrolled before,
to the database. The space is that of a file beside the database. A deletion that finds less free
space than that removes the file; until it can be made again, all other writes are refused.
"""

import os
from pathlib import Path

from recognizer_service.gallery.storage import faults

RESERVE_BYTES = 16 << 20
"""Twice what the log holds before it is truncated."""


class Reserve:
    """The reserve of one database file; its methods are called under the writer's lock."""

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
