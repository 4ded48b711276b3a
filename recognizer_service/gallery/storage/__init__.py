"""Where the truth is kept: what a gallery asks of a database."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Protocol, TypeAlias
from uuid import uuid4

from sqlalchemy import Connection, delete, insert

from recognizer_service.gallery.storage import schema
from recognizer_service.gallery.storage.faults import StorageFault

Prune: TypeAlias = Callable[[Connection], bool]
"""Deletes a bounded part of what is condemned, in a transaction; whether there was any."""
_TRIAL_BYTES = 1 << 16


class Database(Protocol):
    """The tables of `schema`, in transactions; safe to use from threads."""

    @property
    def exclusive(self) -> AbstractContextManager[object]:
        """Held by whoever changes the gallery. Not reentrant.

        It is held over the transaction and the change to the search index that follows, so that
        both happen in one order, in all processes that have the database open.
        """

    @property
    def erases(self) -> bool:
        """Whether it prunes, and can tell when deleted bytes are off the disk."""

    def reading(self) -> AbstractContextManager[Connection]:
        """One snapshot; kept short, since an open one keeps deleted bytes on the disk."""

    def writing(self) -> AbstractContextManager[Connection]:
        """One transaction, on the disk when the block ends and undone if it raises."""

    @property
    def fault(self) -> StorageFault | None:
        """What kept the last writes from succeeding; None: nothing that is known."""

    def try_writing(self) -> None:
        """Write as much as an enrolment takes, and nothing that stays; then there is no `fault`.

        Raises:
            Overloaded: the disk is full (GALLERY_DISK_FULL).
            Unavailable: the database is locked, cannot be written to, or does not answer
                (GALLERY_LOCKED, GALLERY_READ_ONLY, GALLERY_UNAVAILABLE). Every other call
                raises the same.
        """

    def is_alone(self) -> bool:
        """Whether no other process has it open."""

    def begin_erasing(self, prune: Prune) -> None:
        """Erase from now on, in the background, what is deleted or was before; if it `erases`."""

    def mark_erasure(self, connection: Connection) -> int:
        """Note, in the transaction of a deletion, that its bytes must go from the disk.

        The note outlives a crash.

        Returns:
            The number of the erasure, from 1; 0 if the database cannot tell when it is done.
        """

    def erased(self, erasure: int, *, wait_s: float = 0) -> bool:
        """Whether the bytes of a deletion are off the disk; after `wait_s` seconds at the latest.

        Raises:
            NotFound: no deletion was given this number (ERASURE_NOT_FOUND).
        """

    def erasures_pending(self) -> int:
        """How many erasures are not done yet."""

    def problems(self) -> list[str]:
        """What the database itself finds wrong with its content; nothing if it is sound."""

    def close(self) -> None:
        """Close all connections."""


def write_and_undo(connection: Connection) -> None:
    """Write as much as an enrollment takes, and take it out again, in one transaction."""
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
