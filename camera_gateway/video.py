"""Sources read by FFmpeg through PyAV: streams, USB cameras, video files."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import BlockingIOError as AgainError
from av.error import FFmpegError
from av.video.frame import VideoFrame

from camera_gateway.sources import Frame, Pixels, SourceUnavailable

_MAX_LAG_S = 1.0  # lag behind the camera above which only key frames are decoded
_CAUGHT_UP_S = 0.3
_DRIFT = 1e-3  # maximum drift of camera clocks, in seconds per second
_LONGEST_STEP_S = 60.0  # between frames of a recording; more is a timestamp error
_USUAL_STEP_S = 0.04
_MOST_BROKEN = 250  # frames; some cameras never send a key frame

av.logging.set_level(av.logging.PANIC)  # errors arrive as exceptions; the log would fill disks


class Video:
    """A network or USB camera, or a recording.

    Args:
        address: URL, device or file.
        stall_s: time without data after which the source counts as lost, in seconds.
        interval_s: reopen the source for one frame at this interval, in seconds; 0: read on.
    """

    def __init__(self, address: str, *, stall_s: float, interval_s: float = 0) -> None:
        self.live = _is_stream(address) or address.startswith("/dev/")
        self.damaged = 0
        self._address = address
        self._stall_s = stall_s
        self._interval_s = interval_s

    @property
    def goes_on(self) -> bool:
        """See `Source`."""
        return self.live

    def frames(self) -> Iterator[Frame]:
        """See `Source`."""
        while True:
            with _opened(self._address, self._stall_s) as container:
                if self._address.startswith(("http://", "https://")):
                    # A source with a duration is a recording, also on a web server.
                    self.live = bool(self._interval_s) or not container.duration
                if not self.live:
                    yield from self._recorded(container)
                    return
                for image in self._arriving(container):
                    yield Frame(time.monotonic(), datetime.now(UTC), _pixels_of(image))
                    if self._interval_s:
                        break
            if not self._interval_s:
                return
            time.sleep(self._interval_s)

    def _arriving(self, container: InputContainer) -> Iterator[VideoFrame]:
        lag = _Lag()
        codec = container.streams.video[0].codec_context
        for image in self._decoded(container):
            if image.time is not None:
                behind_s = lag.behind_s(image.time, time.monotonic())
                if behind_s > _MAX_LAG_S:
                    codec.skip_frame = "NONKEY"
                elif image.key_frame and behind_s < _CAUGHT_UP_S:
                    codec.skip_frame = "DEFAULT"
            yield image

    def _recorded(self, container: InputContainer) -> Iterator[Frame]:
        """Yield frames with the times of the recording."""
        began = self._began(container)
        at, last = 0.0, None
        for image in self._decoded(container):
            stamp = image.time
            if last is not None:
                step = _USUAL_STEP_S if stamp is None else stamp - last
                # Timestamps of concatenated recordings jump forward and back.
                at += step if 0 <= step <= _LONGEST_STEP_S else _USUAL_STEP_S
            last = stamp if stamp is not None else (last or 0.0) + _USUAL_STEP_S
            yield Frame(at, began + timedelta(seconds=at), _pixels_of(image))

    def _began(self, container: InputContainer) -> datetime:
        """Start time from the metadata; otherwise derived from the file's modification time."""
        with suppress(KeyError, ValueError):
            text = container.metadata["creation_time"].replace("Z", "+00:00")
            began = datetime.fromisoformat(text)
            return began if began.tzinfo else began.replace(tzinfo=UTC)
        ended = time.time() if _is_stream(self._address) else Path(self._address).stat().st_mtime
        return datetime.fromtimestamp(ended - (container.duration or 0) / av.time_base, UTC)

    def _decoded(self, container: InputContainer) -> Iterator[VideoFrame]:
        """Yield intact frames; damaged ones are only counted."""
        stream = container.streams.video[0]
        codec = stream.codec_context
        codec.options = {"err_detect": "explode"}  # otherwise FFmpeg conceals damage
        codec.thread_count = 1  # with several threads FFmpeg conceals damage regardless
        packets = container.demux(stream)
        broken, whole_at = 0, time.monotonic()
        while True:
            if broken and self.live and time.monotonic() - whole_at > self._stall_s:
                raise SourceUnavailable(self._address, "no whole frame came in time")
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (FFmpegError, OSError) as error:
                raise SourceUnavailable(self._address, _why(error)) from None
            try:
                images = packet.decode()
            except AgainError:
                continue
            except FFmpegError:
                self.damaged += 1
                broken = max(1, broken)
                continue
            for image in images:
                # Frames that refer to a damaged frame are damaged, up to the next key frame.
                refers = broken and not image.key_frame and broken < _MOST_BROKEN
                if refers or image.is_corrupt:
                    self.damaged += 1
                    broken += 1
                else:
                    broken, whole_at = 0, time.monotonic()
                    yield image


class _Lag:
    """Estimates the lag of frames behind the camera, relative to the least delayed frames."""

    def __init__(self) -> None:
        self._least: float | None = None
        self._seen_at = 0.0

    def behind_s(self, stamp: float, now: float) -> float:
        """Lag in seconds of a frame with timestamp `stamp` that arrives at `now` (seconds)."""
        delay = now - stamp
        if self._least is None or delay < self._least:
            self._least = delay
        else:  # otherwise clock drift would count as lag
            self._least = min(delay, self._least + _DRIFT * (now - self._seen_at))
        self._seen_at = now
        return delay - self._least


def _is_stream(address: str) -> bool:
    return "://" in address


def _opened(address: str, stall_s: float) -> InputContainer:
    form, options = None, {}
    if address.startswith("/dev/"):
        form = "video4linux2"
    elif address.startswith(("rtsp://", "rtsps://")):
        # TCP retransmits what UDP loses. The frame rate is unused, and probing it takes seconds.
        options = {"rtsp_transport": "tcp", "analyzeduration": "500000", "fpsprobesize": "0"}
    try:
        container = av.open(address, format=form, options=options, timeout=stall_s)
    except (FFmpegError, OSError, ValueError) as error:
        raise SourceUnavailable(address, _why(error)) from None
    if not container.streams.video:
        container.close()
        raise SourceUnavailable(address, "it has no video")
    return container


def _pixels_of(image: VideoFrame) -> Callable[[], Pixels]:
    def pixels() -> Pixels:
        upright = image.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
        quarters = round(image.rotation / 90) % 4  # rotation of a phone held upright
        return np.ascontiguousarray(np.rot90(upright, quarters)) if quarters else upright

    return pixels


def _why(error: Exception) -> str:
    if isinstance(error, av.error.ExitError):
        return "no data came in time"
    text = error.strerror if isinstance(error, OSError | FFmpegError) else str(error)
    return (text or type(error).__name__).lower()
