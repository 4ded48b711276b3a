"""Hands frames from the thread that reads to the thread that looks."""

import threading
import time
from collections import deque
from collections.abc import Callable

from camera_gateway.sources import Frame

_READ_AHEAD = 2  # frames of a recording, which wait in memory


class Handover:
    """Of live sources the newest frame, of others every frame.

    Args:
        stopping: ends all waiting.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._ended = False

    def give(self, frame: Frame, *, live: bool) -> int:
        """Hand over a frame.

        Args:
            frame: the newest.
            live: take out those that wait; otherwise wait until there is room.

        Returns:
            How many frames were taken out unseen.
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
        """Say that no more frames come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def over(self) -> bool:
        """Whether no more frames are to be taken."""
        return self._stopping.is_set() or (self._ended and not self._frames)

    def take(self, timeout_s: float) -> Frame | None:
        """The next frame; None: there was none for so many seconds, or it is over."""
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
            self._changed.wait(0.1)  # nobody notifies of `stopping`
