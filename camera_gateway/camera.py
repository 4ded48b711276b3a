"""One camera: a reader thread and a detection thread."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import structlog

from camera_gateway.display import Display
from camera_gateway.handover import Handover
from camera_gateway.metrics import CameraMetrics
from camera_gateway.opening import open_source
from camera_gateway.pictures import Folder, Still
from camera_gateway.settings import CameraSettings
from camera_gateway.shots import Shot
from camera_gateway.sources import Frame, Source, SourceUnavailable
from camera_gateway.watcher import Watcher
from shared.faces.detect import Detector
from shared.serving.background import Background
from shared.serving.backoff import Backoff

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_PATIENCE_S = 0.5  # timeout for a frame
_EVERY_OF_VIDEO = 3  # 8 to 10 processed frames per second suffice to track a passer-by

_log = structlog.get_logger(__name__)


class Camera:
    """Processes a source until it ends or is stopped.

    Args:
        settings: settings of the camera.
        detector: detects faces; may be shared.
        offer: receives the faces to forward.
        metrics: metrics of this camera.
        display: shows annotated frames; None: no display.
        background: records unexpected failures.
        stopping: event that ends the camera.

    Attributes:
        error: error that ended the camera; None: it runs, or the source reached its end.
    """

    def __init__(
        self,
        settings: CameraSettings,
        *,
        detector: Detector,
        offer: Callable[[Shot], None],
        metrics: CameraMetrics,
        display: Display | None,
        background: Background,
        stopping: threading.Event,
    ) -> None:
        self.error: SourceUnavailable | None = None
        self._settings = settings
        self._detector = detector
        self._offer = offer
        self._metrics = metrics
        self._display = display
        self._background = background
        self._stopping = stopping
        self._handover = Handover(stopping)
        self._video = self._goes_on = True
        self._came = False
        self._backoff = Backoff(first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)
        self._damaged = 0
        # A thread inside FFmpeg cannot be interrupted; the process must be able to exit without it.
        self._threads = [
            threading.Thread(target=run, name=f"{name} {settings.name}", daemon=True)
            for name, run in (("read", self._read), ("look", self._look))
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    @property
    def missing(self) -> bool:
        """Whether the source was missing at the start."""
        return self.error is not None and not self._came

    @property
    def finished(self) -> bool:
        """Whether all frames were processed and no more will come."""
        return not any(thread.is_alive() for thread in self._threads)

    def wait_until_looked(self, timeout_s: float) -> None:
        """Wait for the last frames to be processed, after `stopping` was set."""
        self._threads[1].join(timeout_s)

    def _read(self) -> None:
        try:
            self._read_on()
        except Exception:  # noqa: BLE001 - the camera has ended; the failure must be reported
            self._background.failed(f"camera {self._settings.name}")
            self.error = SourceUnavailable(self._settings.source, "reading failed; see the log")
        finally:
            self._handover.end()

    def _read_on(self) -> None:
        source: Source | None = None
        while not self._stopping.is_set():
            error = SourceUnavailable(self._settings.source, "the stream has ended")
            try:
                source = source or open_source(self._settings)
                self._read_through(source)
                if not source.live:
                    return
            except SourceUnavailable as unavailable:
                error = unavailable
            if not self._wait_for_another_try(error):
                return

    def _read_through(self, source: Source) -> None:
        """Hand over frames until the source ends or the camera is stopped."""
        try:
            for number, frame in enumerate(self._counted(source)):
                if number == 0:
                    _log.info("source_open", camera=self._settings.name)
                    self._backoff.reset()
                self._came = True
                self._goes_on = source.goes_on
                self._metrics.skipped.inc(self._handover.give(frame, live=source.live))
                if self._stopping.is_set():
                    return
        finally:
            self._goes_on = source.goes_on
            self._count_damaged(source)
        if not (source.live or self._came):
            raise SourceUnavailable(self._settings.source, "no frame in it")

    def _wait_for_another_try(self, error: SourceUnavailable) -> bool:
        """Wait before reopening a lost source; False: retrying is pointless."""
        if self._stopping.is_set():
            return False
        # A damaged file stays damaged.
        if not (self._goes_on and (self._came or self._settings.retry)):
            self.error = error
            if self._came:  # otherwise the program ends
                _log.error("source_failed", camera=self._settings.name, error=error.message)
            return False
        self._metrics.reconnects.inc()
        _log.warning("source_lost", camera=self._settings.name, error=error.message)
        self._stopping.wait(self._backoff.pause_s())
        return True

    def _counted(self, source: Source) -> Iterator[Frame]:
        """Yield the frames to process, and count all."""
        self._video = not (isinstance(source, Folder | Still) or self._settings.interval_seconds)
        every = self._settings.every or (_EVERY_OF_VIDEO if self._video else 1)
        for number, frame in enumerate(source.frames()):
            self._metrics.frame_came()
            self._count_damaged(source)
            if number % every == 0:
                yield frame

    def _count_damaged(self, source: Source) -> None:
        self._metrics.damaged.inc(source.damaged - self._damaged)
        self._damaged = source.damaged

    def _look(self) -> None:
        watcher: Watcher | None = None
        ahead_s = 0.0  # of the source's clock
        while not self._handover.over:
            frame = self._handover.take(_PATIENCE_S)
            try:
                if frame is not None:
                    ahead_s = frame.at - time.monotonic()
                    # Not earlier: only an open source shows whether it is a video.
                    watcher = watcher or Watcher(self._settings, self._detector, video=self._video)
                    self._look_at(frame, watcher)
                elif watcher is not None and self._goes_on:  # visits settle or end without frames
                    self._forward(watcher.pass_time(time.monotonic() + ahead_s))
            except Exception:  # noqa: BLE001 - the next frame may succeed
                self._background.failed(f"camera {self._settings.name}")
        if watcher is not None:
            self._forward(watcher.finish())

    def _look_at(self, frame: Frame, watcher: Watcher) -> None:
        picture = frame.pixels()
        seen = watcher.see(picture, frame.at, frame.taken)
        self._metrics.faces.inc(len(seen.looks))
        self._metrics.tracks.inc(seen.begun)
        self._forward(seen.shots)
        if self._display is not None:
            self._display.show(picture, seen, watcher)

    def _forward(self, shots: Sequence[Shot]) -> None:
        for shot in shots:
            self._offer(shot)
