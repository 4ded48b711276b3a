"""What keeps a database from writing: remembered until a write shows that it is over."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Overloaded, Unavailable

RETRY_S = 1.0
"""When to try again what a fault of the storage has kept from being done."""

StorageFault = Overloaded | Unavailable


class WriteFault:
    """The fault that the last writes met with; safe to use from threads.

    Attributes:
        current: None while none is known.
    """

    def __init__(self) -> None:
        self.current: StorageFault | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Remember what keeps the block from writing."""
        try:
            yield
        except (Overloaded, Unavailable) as fault:
            self.current = fault
            raise


def disk_full(detail: str) -> Overloaded:
    """The error of a write that has no room."""
    return Overloaded(
        "GALLERY_DISK_FULL",
        f"the gallery's disk is full ({detail}); what is there can be searched",
        retry_after_s=RETRY_S,
    )


def read_only(detail: str) -> Unavailable:
    """The error of a write that is not allowed."""
    return Unavailable(
        "GALLERY_READ_ONLY",
        f"the gallery cannot be written to ({detail}); what is there can be searched",
        retry_after_s=RETRY_S,
    )


def locked(detail: str) -> Unavailable:
    """The error of a write that somebody else keeps waiting for too long."""
    return Unavailable(
        "GALLERY_LOCKED",
        f"another process keeps the gallery locked ({detail}); what is there can be searched",
        retry_after_s=RETRY_S,
    )


def unavailable(detail: str) -> Unavailable:
    """The error of whatever else the database cannot do at present."""
    return Unavailable(
        "GALLERY_UNAVAILABLE",
        f"the database of the gallery does not answer ({detail})",
        retry_after_s=RETRY_S,
    )
