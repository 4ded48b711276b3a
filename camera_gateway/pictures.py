"""Sources of still pictures: a file or a folder."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from camera_gateway.sources import Frame, SourceUnavailable, picture_files
from shared.errors import InvalidImage
from shared.faces.picture import PictureLimits, decode_photo

_LIMITS = PictureLimits()
_APART_S = 1.0  # assumed time between the pictures of a folder, for the tracker
_UPLOAD_S = 10.0  # a file modified this recently may be incomplete


class Folder:
    """The pictures of a folder by name, then, with an interval, new ones indefinitely.

    Args:
        path: path of the folder.
        interval_s: interval between scans in seconds; 0: scan once.
    """

    def __init__(self, path: Path, *, interval_s: float) -> None:
        self.live = False  # files do not become stale; none is skipped
        self.goes_on = bool(interval_s)
        self.damaged = 0
        self._path = path
        self._interval_s = interval_s
        self._done: set[Path] = set()

    def frames(self) -> Iterator[Frame]:
        """See `Source`."""
        at = 0.0
        while True:
            began = time.monotonic()
            for path in self._new():
                frame = self._read(path, at)
                if frame is not None:
                    at += _APART_S
                    yield frame
            if not self._interval_s:
                return
            time.sleep(self._interval_s)
            at += time.monotonic() - began

    def _new(self) -> list[Path]:
        try:
            files = picture_files(self._path)
        except OSError as error:
            raise SourceUnavailable(str(self._path), error.strerror or str(error)) from None
        self._done.intersection_update(files)  # forget deleted files
        return [path for path in files if path not in self._done]

    def _read(self, path: Path, at: float) -> Frame | None:
        self._done.add(path)
        try:
            return read_picture(path, at)
        except FileNotFoundError:  # deleted meanwhile
            return None
        except (InvalidImage, OSError):
            if self._interval_s and _age_s(path) < _UPLOAD_S:
                self._done.discard(path)  # and retried
            else:
                self.damaged += 1
            return None


class Still:
    """One picture file; with an interval, a file that another program overwrites repeatedly.

    Args:
        path: path of the picture.
        interval_s: interval between reads in seconds; 0: read once.
    """

    def __init__(self, path: Path, *, interval_s: float) -> None:
        self.live = self.goes_on = bool(interval_s)
        self.damaged = 0
        self._path = path
        self._interval_s = interval_s

    def frames(self) -> Iterator[Frame]:
        """See `Source`."""
        while True:
            try:
                yield read_picture(self._path, time.monotonic())
            except InvalidImage as error:
                if not self.live:
                    raise SourceUnavailable(str(self._path), error.message) from None
                self.damaged += 1  # partially written
            except OSError as error:
                raise SourceUnavailable(str(self._path), error.strerror or str(error)) from None
            if not self.live:
                return
            time.sleep(self._interval_s)


def read_picture(path: Path, at: float) -> Frame:
    """Read a picture file as a frame; its capture time is the file's modification time.

    Raises:
        InvalidImage: the picture cannot be decoded.
        OSError: the file cannot be read.
    """
    pixels = decode_photo(path.read_bytes(), _LIMITS).pixels
    taken = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return Frame(at, taken, lambda: pixels)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return _UPLOAD_S
