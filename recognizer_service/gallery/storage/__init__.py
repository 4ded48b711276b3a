"""The database interface of the gallery."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Protocol, TypeAlias
from uuid import uuid4

from sqlalchemy import Connection, delete, insert

from recognizer_service.gallery.storage import schema
from recognizer_service.gallery.storage.faults import StorageFault

Prune: TypeAlias = Callable[[Connection], bool]
"""Deletes a bounded part of the condemned rows in a transaction; returns whether there were any."""
_TRIAL_BYTES = 1 << 16


class Database(Protocol):
    """The tables of `schema`, with transactions; thread-safe."""

    @property
    def exclusive(self) -> AbstractContextManager[object]:
        """Hold the lock for changes to the gallery. Not reentrant.

        It covers the transaction and the following update of the search index, so that both happen
        in the same order in all processes that have the database open.
        """

    @property
    def erases(self) -> bool:
        """Whether the database prunes and can tell when deleted bytes are erased from disk."""

    def reading(self) -> AbstractContextManager[Connection]:
        """Open one read snapshot; keep it short, as it keeps deleted bytes on disk."""

    def writing(self, *, deleting: bool = False) -> AbstractContextManager[Connection]:
        """Open one transaction: durable when the block ends, rolled back if it raises.

        Args:
            deleting: it frees space, and may use the disk space reserved for that.
        """

    @property
    def fault(self) -> StorageFault | None:
        """The fault of the last writes; None if none is known."""

    def try_writing(self) -> None:
        """Write and undo as much as an enrollment does; success clears `fault`.

        Raises:
            Overloaded: the disk is full (GALLERY_DISK_FULL).
            Unavailable: the database is locked, read-only, or does not answer (GALLERY_LOCKED,
                GALLERY_READ_ONLY, GALLERY_UNAVAILABLE). Every other call raises the same.
        """

    def is_alone(self) -> bool:
        """Return whether no other process has it open."""

    def begin_erasing(self, prune: Prune) -> None:
        """Start erasing deleted bytes in the background, if the database `erases`."""

    def mark_erasure(self, connection: Connection) -> int:
        """Record, in the transaction of a deletion, that its bytes must be erased from disk.

        The record survives a crash.

        Returns:
            The number of the erasure, from 1; 0 if the database cannot tell when it is done.
        """

    def erased(self, erasure: int, *, wait_s: float = 0) -> bool:
        """Return whether the bytes of a deletion are erased from the database file and its log.

        Bytes are erased in the background, usually within a fraction of a second. After a bulk
        enrollment or a crash, the whole file is scanned first.

        Args:
            erasure: the number from `Deletion`.
            wait_s: how long to wait, in seconds.

        Raises:
            InvalidInput: an invalid number (OUT_OF_RANGE).
            NotFound: no deletion has this number (ERASURE_NOT_FOUND).
        """

    def erasures_pending(self) -> int:
        """Return the number of unfinished erasures."""

    def problems(self) -> list[str]:
        """Return the problems that the database itself finds; empty if it is consistent."""

    def close(self) -> None:
        """Close all connections."""


def write_and_undo(connection: Connection) -> None:
    """Write as much as an enrollment does and remove it again, in one transaction."""
    request_id = uuid4().hex
    connection.execute(
        insert(schema.requests).values(
            caller="",
            request_id=request_id,
            digest=bytes(_TRIAL_BYTES),
            first_face_key=0,
            last_face_key=0,
            created_at=datetime.now(UTC),
        )
    )
    connection.execute(delete(schema.requests).where(schema.requests.c.request_id == request_id))
