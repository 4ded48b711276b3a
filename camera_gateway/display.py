"""Annotated frames for display."""

import time
from pathlib import Path

import cv2

from camera_gateway.sources import Pixels
from camera_gateway.watcher import Seen, Watcher
from shared.private_files import private_file

_SIGHTED = (80, 220, 80)
_NOT_YET = (240, 190, 60)
_QUALITY = 85  # JPEG quality


class Display:
    """Writes the newest annotated frame of a camera to the file NAME.jpg.

    Args:
        folder: folder of the file; created if missing.
        camera: name of the camera.
        every_s: minimum time between two frames, in seconds.

    Raises:
        OSError: the folder cannot be created.
    """

    def __init__(self, folder: Path, camera: str, *, every_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{camera}.jpg"
        self._every_s = every_s
        self._shown_at = -float("inf")

    def show(self, picture: Pixels, seen: Seen, watcher: Watcher) -> None:
        """Write a frame, unless the last one is too recent.

        Raises:
            OSError: the file cannot be written.
        """
        now = time.monotonic()
        if now - self._shown_at < self._every_s:
            return
        self._shown_at = now
        drawn = picture[..., ::-1].copy()  # OpenCV uses BGR
        thickness = max(1, round(max(picture.shape[:2]) / 400))
        for look, track in zip(seen.looks, seen.tracks, strict=True):
            box = look.detection.box
            left, top = int(box.x), int(box.y)
            colour = (_SIGHTED if watcher.forwarded(track) else _NOT_YET)[::-1]
            corner = int(box.x + box.width), int(box.y + box.height)
            cv2.rectangle(drawn, (left, top), corner, colour, thickness)
            text = f"{track.number}  {look.quality:.2f}"
            place = left, max(12, top - 4)
            cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * thickness, colour)
        _, file = cv2.imencode(".jpg", drawn, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
        unfinished = self._path.with_suffix(".part")
        with private_file(unfinished) as out:
            out.write(file.tobytes())
        unfinished.replace(self._path)  # atomic: readers never see a partial picture
