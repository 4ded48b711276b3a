"""Where the truth is kept: what a gallery asks of a database."""

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection, insert

from recognizer_service.gallery import schema


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
