"""Detection, tracking and selection for one camera, without threads or clocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from camera_gateway.settings import CameraSettings
from camera_gateway.shots import Rules, Shot, Visit
from camera_gateway.sources import Pixels
from camera_gateway.tracking import Look, Track, Tracker
from shared.faces.align import align
from shared.faces.detect import Detection, Detector
from shared.faces.fitness import outside_share, sure_flaws
from shared.faces.quality import quality

_LOOKS_OF_VIDEO = 2  # a face detected in a single frame is a false detection
_MAX_FACES = 64  # maximum per frame, the most prominent
_PAUSES_LOST = 2.5  # intervals; a face may be missed in one picture of a slow series


@dataclass(frozen=True, slots=True)
class Seen:
    """The result of processing a frame.

    Attributes:
        looks: faces in the frame.
        tracks: track of each face.
        shots: shots to forward.
        begun: new tracks.
    """

    looks: Sequence[Look]
    tracks: Sequence[Track]
    shots: Sequence[Shot]
    begun: int


class Watcher:
    """Detects and tracks faces, and selects the best shots.

    Args:
        settings: settings of the camera.
        detector: detects faces.
        video: whether frames follow closely enough to detect a face more than once.
    """

    def __init__(self, settings: CameraSettings, detector: Detector, *, video: bool) -> None:
        self._camera = settings.name
        self._detector = detector
        self._tracker = Tracker(
            lost_s=max(settings.lost_seconds, _PAUSES_LOST * settings.interval_seconds)
        )
        self._visits: dict[int, Visit] = {}
        self._rules = Rules(
            min_looks=_LOOKS_OF_VIDEO if video else 1,
            min_quality=settings.min_quality,
            good_quality=settings.good_quality,
            better_by=settings.better_by,
            settle_s=settings.settle_seconds,
            again_s=settings.again_seconds,
        )

    def see(self, picture: Pixels, at: float, taken: datetime) -> Seen:
        """Process a frame.

        Args:
            picture: (H, W, 3) RGB; the size may change between frames.
            at: time on the source's clock, in seconds.
            taken: wall-clock time.
        """
        found = self._detector.detect(picture)[:_MAX_FACES]
        looks = [self._look(picture, one) for one in found]
        ended = self._end(self._tracker.end_lost(at))
        tracks = self._tracker.update(looks, at)
        begun = 0
        for look, track in zip(looks, tracks, strict=True):
            if track.number not in self._visits:
                self._visits[track.number] = Visit(self._rules)
                begun += 1
            shot = Shot(self._camera, track.number, look.crop, look.quality, at, taken)
            self._visits[track.number].add(shot)
        return Seen(looks, tracks, [*ended, *self._due(at)], begun)

    def pass_time(self, at: float) -> list[Shot]:
        """Return the shots due at a time without a frame."""
        return [*self._end(self._tracker.end_lost(at)), *self._due(at)]

    def finish(self) -> list[Shot]:
        """End all tracks and return their remaining shots."""
        return self._end(self._tracker.end_lost(float("inf")))

    def forwarded(self, track: Track) -> bool:
        """Whether a face of this track was forwarded."""
        visit = self._visits.get(track.number)
        return visit is not None and visit.sent

    def _due(self, at: float) -> list[Shot]:
        return [shot for visit in self._visits.values() if (shot := visit.due(at))]

    def _end(self, tracks: Sequence[Track]) -> list[Shot]:
        visits = [(track.seen_at, self._visits.pop(track.number)) for track in tracks]
        return [shot for seen_at, visit in visits if (shot := visit.due(seen_at, over=True))]

    def _look(self, picture: Pixels, found: Detection) -> Look:
        """Align a face. Edges of the picture and grain look sharp, so flaws lower the quality."""
        template = self._detector.template
        crop = align(picture, found.landmarks, template=template)
        height, width = picture.shape[:2]
        outside = outside_share(height, width, found.landmarks, template=template)
        fit = 1 - max(sure_flaws(crop, outside=outside).values())
        return Look(found, crop, quality(crop, found.landmarks) * fit)
