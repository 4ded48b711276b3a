"""Tracking of faces across frames.

Each detected face is assigned to the track that best predicts it, by position (extrapolated from
the last velocity), size and appearance. Velocity and appearance are needed since at ten frames per
second a passer-by moves by the width of the face between frames, so boxes do not overlap, and
since people cross.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.faces.detect import Box, Detection

_LOOK_SIZE = 12, 14  # the crop's proportions
_FACES_A_SECOND = 9.0  # speed of a passer-by, in face widths per second
_NEAR = 0.6  # distance from the predicted position accepted after any time, in face widths
_FAR = 4.0  # maximum distance, in face widths
_MAX_RATIO = 1.8  # of sizes, between two detections
_AT_ONCE_S = 0.5  # no one takes another's place within this time, even at the frame's edge
_LEAST_ALIKE = 0.3  # minimum similarity of a face that hardly moved
_ALIKE = 0.55  # minimum similarity of a face that moved by more than `_NEAR`
_NEWEST = 0.5  # weight of the newest appearance and velocity in the running averages


@dataclass(frozen=True, slots=True)
class Look:
    """A detected face in a frame.

    Attributes:
        detection: box and landmarks.
        crop: (112, 96, 3) RGB, aligned.
        quality: quality of the crop, in [0, 1].
    """

    detection: Detection
    crop: NDArray[np.uint8]
    quality: float


@dataclass(slots=True)
class Track:
    """One person in view, from arrival to departure.

    Attributes:
        number: 1-based number in order of arrival.
        box: last box of the face.
        began_at: time of the first detection, in seconds on the source's clock.
        seen_at: time of the last detection.
        looks: number of detections.
    """

    number: int
    box: Box
    began_at: float
    seen_at: float
    looks: int = 1
    _velocity: tuple[float, float] = (0.0, 0.0)  # pixels per second
    _appearance: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def fit(self, box: Box, appearance: NDArray[np.float32], at: float) -> float | None:
        """How well a face continues this track; None: it does not."""
        elapsed = max(0.0, at - self.seen_at)
        size, other = _size(self.box), _size(box)
        if max(size, other) > _MAX_RATIO * min(size, other):
            return None
        (x, y), (u, v) = _centre(self.box), _centre(box)
        known = min(elapsed, 1.0)  # a velocity is not valid for long
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
        """Add a face to the track."""
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
        lost_s: time without a detection after which a track ends, in seconds.
    """

    def __init__(self, *, lost_s: float) -> None:
        self.tracks: list[Track] = []
        self._lost_s = lost_s
        self._count = 0

    def update(self, looks: Sequence[Look], at: float) -> list[Track]:
        """Assign the faces of a frame to tracks, creating new ones where none fits."""
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
        """Remove and return the tracks that have ended."""
        lost = [track for track in self.tracks if at - track.seen_at > self._lost_s]
        self.tracks = [track for track in self.tracks if at - track.seen_at <= self._lost_s]
        return lost

    def _begin(self, box: Box, appearance: NDArray[np.float32], at: float) -> Track:
        self._count += 1
        track = Track(self._count, box, began_at=at, seen_at=at, _appearance=appearance)
        self.tracks.append(track)
        return track


def _appearance(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A small gray image of the face as a unit vector; dot products are correlations."""
    gray = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, _LOOK_SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
    return _unit(small.ravel() - small.mean())


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    length = float(np.linalg.norm(vector)) or 1.0  # a uniform crop has correlation 0 with all
    unit: NDArray[np.float32] = (vector / length).astype(np.float32)
    return unit


def _centre(box: Box) -> tuple[float, float]:
    return box.x + box.width / 2, box.y + box.height / 2


def _size(box: Box) -> float:
    return math.sqrt(box.width * box.height)
