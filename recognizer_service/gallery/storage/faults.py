"""Faults that prevent the database from writing, remembered until a write succeeds."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Overloaded, Unavailable

RETRY_S = 1.0
"""Time after which to retry after a storage fault, in seconds."""

StorageFault = Overloaded | Unavailable


class WriteFault:
    """The fault of the last writes; thread-safe.

    Attributes:
        current: the fault; None if none is known.
    """

    def __init__(self) -> None:
        self.current: StorageFault | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Remember the fault of a write in this block."""
        try:
            yield
        except (Overloaded, Unavailable) as fault:
            self.current = fault
            raise


def disk_full(detail: str) -> Overloaded:
    """Return the error of a write without free space."""
    return Overloaded(
        "GALLERY_DISK_FULL",
        f"the gallery's disk is full ({detail}); what is there can be searched",
        retry_after_s=RETRY_S,
    )


def read_only(detail: str) -> Unavailable:
    """Return the error of a write to a read-only database."""
    return Unavailable(
        "GALLERY_READ_ONLY",
        f"the gallery cannot be written to ({detail}); what is there can be searched",
        retry_after_s=RETRY_S,
    )


def locked(detail: str) -> Unavailable:
    """Return the error of a write that waited too long for a lock."""
    return Unavailable(
        "GALLERY_LOCKED",
        f"another process keeps the gallery locked ({detail}); what is there can be searched",
        retry_after_s=RETRY_S,
    )


def unavailable(detail: str) -> Unavailable:
    """Return the error of any other failure of the database."""
    return Unavailable(
        "GALLERY_UNAVAILABLE",
        f"the database of the gallery does not answer ({detail})",
        retry_after_s=RETRY_S,
    )
