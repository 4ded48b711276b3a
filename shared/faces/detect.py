"""Faces in a picture: where they are, and the five landmarks that alignment needs."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.faces.mtcnn import Cascade

Point = tuple[float, float]
"""(x, y) in pixels of the picture; whole numbers are centres of pixels."""


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Five points of a face. Left and right are the viewer's."""

    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point

    def as_array(self) -> NDArray[np.float32]:
        """(5, 2) in the order of the attributes."""
        points = self.left_eye, self.right_eye, self.nose, self.mouth_left, self.mouth_right
        return np.array(points, np.float32)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the picture; it may reach beyond the picture's edge.

    Attributes:
        x: left edge.
        y: top edge.
        width: above 0.
        height: above 0.
    """

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Detection:
    """A face that was found.

    Attributes:
        box: around the face.
        landmarks: its five points.
        score: the detector's confidence, in [0, 1].
    """

    box: Box
    landmarks: Landmarks
    score: float

    def magnified(self, factor: int) -> "Detection":
        """The same face in the picture of which this one was made at 1/`factor` of the size."""

        def place(x: float, y: float) -> Point:  # whole numbers are centres of pixels
            return factor * (x + 0.5) - 0.5, factor * (y + 0.5) - 0.5

        box, points = self.box, self.landmarks
        return Detection(
            Box(*place(box.x, box.y), factor * box.width, factor * box.height),
            Landmarks(
                place(*points.left_eye),
                place(*points.right_eye),
                place(*points.nose),
                place(*points.mouth_left),
                place(*points.mouth_right),
            ),
            self.score,
        )


_CENTRALITY = 4.0
"""Half way to a corner a face counts as one of 37 % of its area."""


def prominence(box: Box, width: int, height: int) -> float:
    """How likely a picture of width x height pixels is about this face, for ranking.

    The largest face alone will not do: in portraits the largest is now and then that of a
    bystander, cut by the edge, close to the camera.

    Returns:
        The area of the box in pixels, less the further its centre is from the picture's.
    """
    x, y = box.x + box.width / 2 - width / 2, box.y + box.height / 2 - height / 2
    towards_corner = math.hypot(x, y) / math.hypot(width / 2, height / 2)
    return box.width * box.height * math.exp(-_CENTRALITY * towards_corner**2)


class Detector(Protocol):
    """Whatever finds faces. Implementations may be called from several threads at once."""

    def detect(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """Faces of a picture (H, W, 3) RGB of any size, the most prominent first; often none."""
        ...


class MtcnnDetector:
    """MTCNN on ONNX Runtime (`shared.faces.mtcnn`).

    Args:
        min_face_size: side of the smallest face to find, in pixels, at least 12. Halving it
            makes detection up to four times as slow.
        max_side: photos whose longer side is larger are scanned for faces at this size, which
            leaves out faces smaller than 1/80 of it; the faces found are looked at in full.
        thresholds: what P-Net, R-Net and O-Net must each be sure of, in [0, 1].
        threads: cores that one call may use.

    Raises:
        ValueError: `min_face_size` is below 12.
        ModuleNotFoundError: the extra `encoder` is not installed.
    """

    def __init__(
        self,
        *,
        min_face_size: float = 20,
        max_side: int = 1280,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.95),
        threads: int = 1,
    ) -> None:
        if min_face_size < 12:  # noqa: PLR2004 - P-Net's own size; below it pictures would grow
            raise ValueError(f"min_face_size is {min_face_size}; at least 12 pixels are needed")
        self._min_face_size = min_face_size
        self._max_side = max_side
        self._cascade = Cascade(thresholds=thresholds, threads=threads)

    def detect(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """Faces of a picture (H, W, 3) RGB of any size, the most prominent first; often none."""
        faces = self._cascade.find(
            picture, min_face_size=self._min_face_size, max_side=self._max_side
        )
        detections = [
            _detection(*face) for face in zip(faces.boxes, faces.scores, faces.points, strict=True)
        ]
        height, width = picture.shape[:2]
        return sorted(detections, key=lambda found: -prominence(found.box, width, height))


def _detection(
    box: NDArray[np.float32], score: np.float32, points: NDArray[np.float32]
) -> Detection:
    left, top, right, bottom = box.tolist()
    return Detection(
        Box(left, top, right - left, bottom - top),
        Landmarks(*((x, y) for x, y in points.tolist())),
        float(score),
    )
