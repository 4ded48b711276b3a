"""What a camera is to the gateway: a source of frames."""

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
    """One picture of a source.

    Attributes:
        at: seconds, on a clock that never goes back; only differences within a source mean
            anything. Of live sources the time of arrival, of recordings the time in the recording.
        taken: the time of day, as far as it is known.
        pixels: makes (H, W, 3) RGB; frames that nobody looks at need not be converted.
    """

    at: float
    taken: datetime
    pixels: Callable[[], Pixels]


class SourceUnavailable(Unavailable):
    """A source cannot be opened, or has ended before its time."""

    def __init__(self, source: str, why: str) -> None:
        super().__init__("SOURCE_UNAVAILABLE", f"{without_password(source)}: {why}")


class Source(Protocol):
    """Whatever frames come from."""

    @property
    def live(self) -> bool:
        """Whether frames come when they like: stale ones are skipped, and after an end it goes on.

        Of what is not live every frame is looked at, and its end is the end.
        """
        ...

    @property
    def damaged(self) -> int:
        """Frames so far that could not be decoded, or only in part."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Open it and read; may be called again after an end.

        Raises:
            SourceUnavailable: it cannot be opened or read on, or no frame comes for too long.
        """
        ...


def without_password(source: str) -> str:
    """The source as it may be logged."""
    if "://" not in source:
        return source
    parts = urlsplit(source)
    host = parts.netloc.rpartition("@")[2]
    # Some cameras take the password as a parameter.
    return parts._replace(netloc=host, query="" if not parts.query else "...").geturl()


def picture_files(folder: Path) -> list[Path]:
    """The files in a folder that may be pictures, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)


PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".gif", ".bmp", ".tif", ".tiff"}
)
