"""Choice of the source for a camera's settings."""

from pathlib import Path

from camera_gateway.pictures import Folder, Still
from camera_gateway.settings import CameraSettings
from camera_gateway.sources import PICTURE_SUFFIXES, Source, SourceUnavailable
from camera_gateway.video import Video


def open_source(settings: CameraSettings) -> Source:
    """Create the source that the settings name, without opening it.

    A URL (rtsp://, http://, srt:// or another that FFmpeg reads), a device (/dev/video0, or its
    number), a folder of pictures, a picture, or a video file.

    Raises:
        SourceUnavailable: the file does not exist.
    """
    source, interval_s = settings.source, settings.interval_seconds
    if source.isdecimal():
        source = f"/dev/video{source}"
    path = Path(source.removeprefix("file://"))
    if ("://" in source and not source.startswith("file://")) or source.startswith("/dev/"):
        return Video(source, stall_s=settings.stall_seconds, interval_s=interval_s)
    if path.is_dir():
        return Folder(path, interval_s=interval_s)
    if not path.exists():
        raise SourceUnavailable(source, "no such file, folder or device")
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return Still(path, interval_s=interval_s)
    return Video(str(path), stall_s=settings.stall_seconds)
