"""Selection of the faces of a visit to forward."""

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Shot:
    """A candidate face for forwarding.

    Attributes:
        camera: name of the camera.
        visit: number of the track.
        crop: (112, 96, 3) RGB, aligned.
        quality: in [0, 1].
        at: time on the source's clock, in seconds.
        taken: wall-clock time.
    """

    camera: str
    visit: int
    crop: NDArray[np.uint8] = field(repr=False)
    quality: float
    at: float
    taken: datetime


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules of forwarding; see the settings of the same names.

    Attributes:
        min_looks: minimum number of detections of a visit.
        min_quality: in [0, 1].
        good_quality: in [0, 1].
        better_by: difference of quality.
        settle_s: in seconds.
        again_s: in seconds.
    """

    min_looks: int
    min_quality: float
    good_quality: float
    better_by: float
    settle_s: float
    again_s: float


class Visit:
    """Keeps the best face of a track since the last forwarded one."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._looks = 0
        self._began_at = 0.0
        self._best: Shot | None = None
        self._sent: Shot | None = None
        self._sent_at = 0.0

    @property
    def sent(self) -> bool:
        """Whether a face was forwarded."""
        return self._sent is not None

    def add(self, shot: Shot) -> None:
        """Add a detection."""
        if not self._looks:
            self._began_at = shot.at
        self._looks += 1
        if self._best is None or shot.quality > self._best.quality:
            self._best = shot

    def due(self, at: float, *, over: bool = False) -> Shot | None:
        """Return the face to forward now, if any, and mark it as forwarded.

        Args:
            at: current time on the source's clock.
            over: whether the visit has ended.
        """
        best, rules = self._best, self._rules
        if best is None or self._looks < rules.min_looks or best.quality < rules.min_quality:
            return None
        if self._sent is None:
            due = best.quality >= rules.good_quality or at - self._began_at >= rules.settle_s
            due = due or over
        else:
            # Wait a moment, since quality may improve further.
            settled = over or at - self._sent_at >= rules.settle_s
            due = settled and best.quality >= self._sent.quality + rules.better_by
            due = due or at - self._sent_at >= rules.again_s
        if not due:
            return None
        self._sent, self._sent_at, self._best = best, at, None
        return best
