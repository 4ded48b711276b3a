"""The interface of frame sources."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from shared.errors import Unavailable

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a source.

    Attributes:
        at: seconds on a monotonic clock of the source, with an arbitrary origin: time of arrival
            for live sources, media time for recordings.
        taken: wall-clock capture time, if known.
        pixels: returns (H, W, 3) RGB; conversion is deferred until called.
    """

    at: float
    taken: datetime
    pixels: Callable[[], Pixels]


class SourceUnavailable(Unavailable):
    """A source cannot be opened, or ended unexpectedly."""

    def __init__(self, source: str, why: str) -> None:
        super().__init__("SOURCE_UNAVAILABLE", f"{without_password(source)}: {why}")


class Source(Protocol):
    """A source of frames."""

    @property
    def live(self) -> bool:
        """Whether the source is live: stale frames are skipped, and it is reopened after an end.

        Of other sources every frame is processed, and their end is final.
        """
        ...

    @property
    def goes_on(self) -> bool:
        """Whether frames may come at any time, so that time also passes without them."""
        ...

    @property
    def damaged(self) -> int:
        """Number of frames so far that could not be decoded completely."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Open the source and yield frames; may be called again after an end.

        Raises:
            SourceUnavailable: the source cannot be opened or read, or stalls.
        """
        ...


def without_password(source: str) -> str:
    """The source without its password, for logs."""
    if "://" not in source:
        return source
    parts = urlsplit(source)
    host = parts.netloc.rpartition("@")[2]
    # Some cameras take the password as a query parameter.
    return parts._replace(netloc=host, query="" if not parts.query else "...").geturl()


def picture_files(folder: Path) -> list[Path]:
    """The files in a folder with the name of a picture, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)


PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".gif", ".bmp", ".tif", ".tiff"}
)
