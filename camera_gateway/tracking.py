"""Which faces of one frame are those of the frames before.

A face that is found is given to the track that expects it: near where it would be by now at its
last speed, of about the size, and with about the same look. Speed and look matter, since at ten
looks a second who walks past moves by the width of the face from one look to the next, where
boxes no longer overlap; and since people cross.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.faces.detect import Box, Detection

_LOOK_SIZE = 12, 14  # the crop's proportions
_FACES_A_SECOND = 9.0  # widths of the face that who walks past moves
_NEAR = 0.6  # and so far it may be from where it is expected in any case
_FAR = 4.0  # but never farther, in widths
_MAX_RATIO = 1.8  # of sizes, from one look to the next
_AT_ONCE_S = 0.5  # nobody takes another's place so fast, whatever the edge of the frame hides
_LEAST_ALIKE = 0.3  # of one who hardly moved
_ALIKE = 0.55  # of one who moved by more than `_NEAR`
_NEWEST = 0.5  # share that the newest look and speed have in what is remembered


@dataclass(frozen=True, slots=True)
class Look:
    """A face in a frame.

    Attributes:
        detection: where it is.
        crop: (112, 96, 3) RGB, aligned.
        quality: of the crop, in [0, 1].
    """

    detection: Detection
    crop: NDArray[np.uint8]
    quality: float


@dataclass(slots=True)
class Track:
    """One person before the camera, from coming to leaving.

    Attributes:
        number: from 1, in the order of coming.
        box: where the face was last.
        began_at: first look, in seconds of the source's clock.
        seen_at: last look.
        looks: so far.
    """

    number: int
    box: Box
    began_at: float
    seen_at: float
    looks: int = 1
    _velocity: tuple[float, float] = (0.0, 0.0)  # pixels a second
    _appearance: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def fit(self, box: Box, appearance: NDArray[np.float32], at: float) -> float | None:
        """How well a face would go on with this track; None: it is somebody else's."""
        elapsed = max(0.0, at - self.seen_at)
        size, other = _size(self.box), _size(box)
        if max(size, other) > _MAX_RATIO * min(size, other):
            return None
        (x, y), (u, v) = _centre(self.box), _centre(box)
        known = min(elapsed, 1.0)  # nobody keeps a speed for long
        expected = x + known * self._velocity[0], y + known * self._velocity[1]
        width = math.sqrt(size * other)
        distance = min(math.dist(expected, (u, v)), math.dist((x, y), (u, v))) / width
        alike = float(appearance @ self._appearance)
        reach = min(_FAR, _NEAR + _FACES_A_SECOND * elapsed)
        least = _ALIKE
        if distance < _NEAR:
            least = -1.0 if elapsed < _AT_ONCE_S else _LEAST_ALIKE
        if distance > reach or alike < least:
            return None
        return alike - math.dist(expected, (u, v)) / width / _FAR

    def go_on(self, box: Box, appearance: NDArray[np.float32], at: float) -> None:
        """Take a face."""
        elapsed = at - self.seen_at
        if elapsed > 0:
            (x, y), (u, v) = _centre(self.box), _centre(box)
            newest = 1.0 if self.looks == 1 else _NEWEST
            self._velocity = (
                newest * (u - x) / elapsed + (1 - newest) * self._velocity[0],
                newest * (v - y) / elapsed + (1 - newest) * self._velocity[1],
            )
        self.box, self.seen_at = box, max(at, self.seen_at)
        self.looks += 1
        self._appearance = _unit(_NEWEST * appearance + (1 - _NEWEST) * self._appearance)


class Tracker:
    """The tracks of one camera.

    Args:
        lost_s: without a look, after which a track has ended, in seconds.
    """

    def __init__(self, *, lost_s: float) -> None:
        self.tracks: list[Track] = []
        self._lost_s = lost_s
        self._count = 0

    def update(self, looks: Sequence[Look], at: float) -> list[Track]:
        """The track of each face of a frame; a new one where none expects it."""
        faces = [(look.detection.box, _appearance(look.crop)) for look in looks]
        fits = [
            (fit, row, track)
            for row, face in enumerate(faces)
            for track in self.tracks
            if (fit := track.fit(*face, at)) is not None
        ]
        found: dict[int, Track] = {}
        taken: set[int] = set()
        for _, row, track in sorted(fits, key=lambda item: -item[0]):
            if row not in found and track.number not in taken:
                found[row] = track
                taken.add(track.number)
                track.go_on(*faces[row], at)
        return [
            found[row] if row in found else self._begin(*face, at) for row, face in enumerate(faces)
        ]

    def end_lost(self, at: float) -> list[Track]:
        """Take out the tracks that have ended by then."""
        lost = [track for track in self.tracks if at - track.seen_at > self._lost_s]
        self.tracks = [track for track in self.tracks if at - track.seen_at <= self._lost_s]
        return lost

    def _begin(self, box: Box, appearance: NDArray[np.float32], at: float) -> Track:
        self._count += 1
        track = Track(self._count, box, began_at=at, seen_at=at, _appearance=appearance)
        self.tracks.append(track)
        return track


def _appearance(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A small gray picture of the face as a unit vector; products are correlations."""
    gray = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, _LOOK_SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
    return _unit(small.ravel() - small.mean())


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    length = float(np.linalg.norm(vector)) or 1.0  # a crop of one gray is like no other
    unit: NDArray[np.float32] = (vector / length).astype(np.float32)
    return unit


def _centre(box: Box) -> tuple[float, float]:
    return box.x + box.width / 2, box.y + box.height / 2


def _size(box: Box) -> float:
    return math.sqrt(box.width * box.height)
