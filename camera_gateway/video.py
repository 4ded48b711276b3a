"""Sources that FFmpeg reads, with PyAV: streams, USB cameras, video files."""

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

_MAX_LAG_S = 1.0  # behind the camera, after which only key frames are decoded
_CAUGHT_UP_S = 0.3
_DRIFT = 1e-3  # clocks of cameras are as wrong as that, in seconds a second
_LONGEST_STEP_S = 60.0  # between frames of a recording; more is a fault of its time stamps
_USUAL_STEP_S = 0.04
_MOST_BROKEN = 250  # frames; some cameras never send one that refers to no other

av.logging.set_level(av.logging.PANIC)  # what matters comes as exceptions; the rest fills disks


class Stream:
    """A camera on the network or at a USB port; frames are as old as they arrive.

    Args:
        address: URL or device.
        stall_s: without data, after which it counts as lost, in seconds.
        interval_s: open it anew for one frame, every so many seconds; 0: read on.
    """

    def __init__(self, address: str, *, stall_s: float, interval_s: float = 0) -> None:
        self.live = True
        self.damaged = 0
        self._address = address
        self._stall_s = stall_s
        self._interval_s = interval_s

    def frames(self) -> Iterator[Frame]:
        """See `Source`."""
        while True:
            with _opened(self._address, self._stall_s) as container:
                # A recording behind a web server ends; a camera does not.
                web = self._address.startswith(("http://", "https://"))
                self.live = bool(self._interval_s) or not (web and container.duration)
                for image in self._read(container):
                    yield Frame(time.monotonic(), datetime.now(UTC), _pixels_of(image))
                    if self._interval_s:
                        break
            if not self._interval_s:
                return
            time.sleep(self._interval_s)

    def _read(self, container: InputContainer) -> Iterator[VideoFrame]:
        lag = _Lag()
        codec = container.streams.video[0].codec_context
        for image in _decoded(container, self._address, self._failed):
            if image.time is not None and self.live:
                behind_s = lag.behind_s(image.time, time.monotonic())
                if behind_s > _MAX_LAG_S:
                    codec.skip_frame = "NONKEY"
                elif image.key_frame and behind_s < _CAUGHT_UP_S:
                    codec.skip_frame = "DEFAULT"
            yield image

    def _failed(self) -> None:
        self.damaged += 1


class VideoFile:
    """A recording; its frames have the times of the recording."""

    def __init__(self, path: Path) -> None:
        self.live = False
        self.damaged = 0
        self._path = path

    def frames(self) -> Iterator[Frame]:
        """See `Source`."""
        with _opened(str(self._path), stall_s=60) as container:
            began = self._began(container)
            at, last = 0.0, None
            for image in _decoded(container, str(self._path), self._failed):
                step = _USUAL_STEP_S
                if image.time is not None and last is not None:
                    step = image.time - last
                if last is not None:
                    # Recordings that were pieced together jump, and go back.
                    at += step if 0 <= step <= _LONGEST_STEP_S else _USUAL_STEP_S
                last = image.time if image.time is not None else (last or 0.0) + _USUAL_STEP_S
                yield Frame(at, began + timedelta(seconds=at), _pixels_of(image))

    def _began(self, container: InputContainer) -> datetime:
        """What the recorder wrote; else the file is taken to have been written as it went on."""
        with suppress(KeyError, ValueError):
            text = container.metadata["creation_time"].replace("Z", "+00:00")
            began = datetime.fromisoformat(text)
            return began if began.tzinfo else began.replace(tzinfo=UTC)
        length = (container.duration or 0) / av.time_base
        return datetime.fromtimestamp(self._path.stat().st_mtime - length, UTC)

    def _failed(self) -> None:
        self.damaged += 1


class _Lag:
    """How far behind the camera's clock frames arrive, compared with the promptest ones."""

    def __init__(self) -> None:
        self._least: float | None = None
        self._seen_at = 0.0

    def behind_s(self, stamp: float, now: float) -> float:
        """Of a frame with time stamp `stamp` at `now`, both in seconds."""
        delay = now - stamp
        if self._least is None or delay < self._least:
            self._least = delay
        else:  # or the clocks' drift would become a lag
            self._least = min(delay, self._least + _DRIFT * (now - self._seen_at))
        self._seen_at = now
        return delay - self._least


def _opened(address: str, stall_s: float) -> InputContainer:
    form, options = None, {}
    if address.startswith("/dev/"):
        form = "video4linux2"
    elif address.startswith(("rtsp://", "rtsps://")):
        # UDP loses what TCP repeats; and nobody needs to know the frame rate, found out in seconds.
        options = {"rtsp_transport": "tcp", "analyzeduration": "500000", "fpsprobesize": "0"}
    try:
        container = av.open(address, format=form, options=options, timeout=stall_s)
    except (FFmpegError, OSError, ValueError) as error:
        raise SourceUnavailable(address, _why(error)) from None
    if not container.streams.video:
        container.close()
        raise SourceUnavailable(address, "it has no video")
    return container


def _decoded(
    container: InputContainer, address: str, failed: Callable[[], None]
) -> Iterator[VideoFrame]:
    """Whole frames; of broken packets only the count is left."""
    stream = container.streams.video[0]
    codec = stream.codec_context
    codec.options = {"err_detect": "explode"}  # else FFmpeg invents what is missing
    codec.thread_count = 1  # and with several it does so all the same
    packets = container.demux(stream)
    broken = 0
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (FFmpegError, OSError) as error:
            raise SourceUnavailable(address, _why(error)) from None
        try:
            images = packet.decode()
        except AgainError:
            continue
        except FFmpegError:
            failed()
            broken = max(1, broken)
            continue
        for image in images:
            # What refers to a broken frame is broken, too, up to the next that refers to none.
            if (
                not isinstance(image, VideoFrame)
                or image.is_corrupt
                or (broken and not image.key_frame and broken < _MOST_BROKEN)
            ):
                failed()
                broken += 1
            else:
                broken = 0
                yield image


def _pixels_of(image: VideoFrame) -> Callable[[], Pixels]:
    def pixels() -> Pixels:
        upright = image.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
        quarters = round(image.rotation / 90) % 4  # of a telephone held upright
        return np.ascontiguousarray(np.rot90(upright, quarters)) if quarters else upright

    return pixels


def _why(error: Exception) -> str:
    if isinstance(error, av.error.ExitError):
        return "no data came in time"
    text = error.strerror if isinstance(error, OSError | FFmpegError) else str(error)
    return (text or type(error).__name__).lower()
