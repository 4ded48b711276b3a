"""A queue of frames from the reader thread to the detection thread."""

import threading
import time
from collections import deque
from collections.abc import Callable

from camera_gateway.sources import Frame

_READ_AHEAD = 2  # queued frames of a recording, in memory


class Handover:
    """Passes on the newest frame of live sources, and every frame of others.

    Args:
        stopping: event that ends all waiting.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._ended = False

    def give(self, frame: Frame, *, live: bool) -> int:
        """Put a frame.

        Args:
            frame: the newest frame.
            live: replace queued frames; otherwise wait for room.

        Returns:
            The number of replaced frames.
        """
        with self._changed:
            if not live:
                self._wait(lambda: len(self._frames) < _READ_AHEAD)
            stale = len(self._frames) if live else 0
            if live:
                self._frames.clear()
            self._frames.append(frame)
            self._changed.notify_all()
            return stale

    def end(self) -> None:
        """Mark the end of the frames."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def over(self) -> bool:
        """Whether the queue is empty and ended."""
        return self._stopping.is_set() or (self._ended and not self._frames)

    def take(self, timeout_s: float) -> Frame | None:
        """Take the next frame; None: none arrived within the timeout, or the queue has ended."""
        until = time.monotonic() + timeout_s
        with self._changed:
            self._wait(lambda: bool(self._frames) or self._ended or time.monotonic() > until)
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._changed.notify_all()
            return frame

    def _wait(self, ready: Callable[[], bool]) -> None:
        while not (self._stopping.is_set() or ready()):
            self._changed.wait(0.1)  # setting `stopping` does not notify
