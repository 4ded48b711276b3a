"""Where the truth is kept: what a gallery asks of a database."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Protocol
from uuid import uuid4

from sqlalchemy import Connection, delete, insert

from recognizer_service.gallery import schema
from recognizer_service.gallery.databases.faults import StorageFault

_TRIAL_BYTES = 1 << 16


class Database(Protocol):
    """The tables of `schema`, in transactions; safe to use from threads."""

    @property
    def exclusive(self) -> AbstractContextManager[object]:
        """Held by whoever changes the gallery. Not reentrant.

        It is held over the transaction and the change to the search index that follows, so that
        both happen in one order, in all processes that have the database open.
        """

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

    def erase(self) -> bool:
        """Get the bytes of all committed deletions off the disk; whether that is certain."""

    def problems(self) -> list[str]:
        """What the database itself finds wrong with its content; nothing if it is sound."""

    def close(self) -> None:
        """Close all connections."""


def mark_erasure(connection: Connection) -> None:
    """Note, in the transaction of a deletion, that its bytes must go from the disk.

    The note outlives a crash between the deletion and `Database.erase`.
    """
    connection.execute(insert(schema.erasures))


def write_and_undo(connection: Connection) -> None:
    """Write as much as an enrolment takes, and take it out again, in one transaction."""
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
