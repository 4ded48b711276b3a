"""Build detectors from their options."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shared.faces.blazeface import FastDetector
from shared.faces.boxes import distinct
from shared.faces.detect import (
    Box,
    Detection,
    Detector,
    DetectorOptions,
    Landmarks,
    Point,
    Region,
    most_prominent_first,
)
from shared.faces.mtcnn import MtcnnDetector


def open_detector(options: DetectorOptions) -> Detector:
    """Build the detector with these options.

    Raises:
        ValueError: `min_face_size` is below 12.
        ModuleNotFoundError: the extra `encoder` is not installed.
    """
    kind = FastDetector if options.name == "fast" else MtcnnDetector
    detector: Detector = kind(min_face_size=options.min_face_size)
    if options.turned_faces:
        detector = _TurnedToo(detector)
    return detector if options.region is None else _InRegion(detector, options.region)


class _TurnedToo:
    """Detects in each picture at four rotations, 90 degrees apart."""

    def __init__(self, detector: Detector) -> None:
        self.template = detector.template
        self._detector = detector

    def detect(self, picture: NDArray[np.uint8]) -> list[Detection]:
        found = [
            _placed(one, back)
            for quarters in range(4)
            for one, back in self._turned(picture, quarters)
        ]
        boxes = np.array([_corners(one.box) for one in found], np.float32).reshape(-1, 4)
        scores = np.array([one.score for one in found], np.float32)
        # A face between two rotations is found in both.
        kept = distinct(boxes, scores, overlap=0.4, of_smaller=True)
        return most_prominent_first([found[row] for row in kept], picture)

    def _turned(
        self, picture: NDArray[np.uint8], quarters: int
    ) -> list[tuple[Detection, Callable[[Point], Point]]]:
        """Detect in the picture rotated counterclockwise; also returns the inverse for points."""
        height, width = picture.shape[:2]
        back: Callable[[Point], Point] = (
            lambda p: p,
            lambda p: (width - 1 - p[1], p[0]),
            lambda p: (width - 1 - p[0], height - 1 - p[1]),
            lambda p: (p[1], height - 1 - p[0]),
        )[quarters]
        turned = np.ascontiguousarray(np.rot90(picture, quarters))
        return [(one, back) for one in self._detector.detect(turned)]


class _InRegion:
    """Detects only in a part of each picture."""

    def __init__(self, detector: Detector, region: Region) -> None:
        self.template = detector.template
        self._detector = detector
        self._region = region

    def detect(self, picture: NDArray[np.uint8]) -> list[Detection]:
        height, width = picture.shape[:2]
        region = self._region
        left, top = int(region.left * width), int(region.top * height)
        right, bottom = max(left + 1, round(region.right * width)), round(region.bottom * height)
        part = np.ascontiguousarray(picture[top : max(top + 1, bottom), left:right])
        found = self._detector.detect(part)
        moved = [_placed(one, lambda p: (p[0] + left, p[1] + top)) for one in found]
        return most_prominent_first(moved, picture)


def _placed(found: Detection, place: Callable[[Point], Point]) -> Detection:
    """Apply a function to all points of a face."""
    left, top, right, bottom = _corners(found.box)
    x, y = zip(place((left, top)), place((right, bottom)), strict=True)
    points = found.landmarks
    return Detection(
        Box(min(x), min(y), max(x) - min(x), max(y) - min(y)),
        Landmarks(
            place(points.left_eye),
            place(points.right_eye),
            place(points.nose),
            place(points.mouth_left),
            place(points.mouth_right),
        ),
        found.score,
    )


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.x, box.y, box.x + box.width, box.y + box.height
