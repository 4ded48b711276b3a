"""Where the truth is kept: what a gallery asks of a database."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

from sqlalchemy import Connection

Prune: TypeAlias = Callable[[Connection], bool]
"""Deletes a bounded part of what is condemned, in a transaction; whether there was any."""


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
