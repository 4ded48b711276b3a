"""The interface of detectors, and the faces they return.

`shared.faces.detectors` builds the implementations.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
"""(x, y) in pixels of the picture; integers are pixel centres."""


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Five points of a face. Left and right are from the viewer's perspective."""

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
    """A rectangle in pixels of the picture; it may extend beyond the picture.

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
    """A detected face.

    Attributes:
        box: box of the face.
        landmarks: its five points.
        score: the detector's confidence, in [0, 1].
    """

    box: Box
    landmarks: Landmarks
    score: float

    @classmethod
    def of(
        cls, box: NDArray[np.float32], score: np.float32, points: NDArray[np.float32]
    ) -> "Detection":
        """Build from a row (left, top, right, bottom), a score and (5, 2) points."""
        left, top, right, bottom = box.tolist()
        landmarks = Landmarks(*((x, y) for x, y in points.tolist()))
        return cls(Box(left, top, right - left, bottom - top), landmarks, float(score))

    def magnified(self, factor: int) -> "Detection":
        """The same face in a picture that is `factor` times as large."""

        def place(x: float, y: float) -> Point:  # integers are pixel centres
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
"""Halfway to a corner, a face counts as 37 % of its area."""


def prominence(box: Box, width: int, height: int) -> float:
    """Rank a face by size and distance from the centre of a picture of width x height pixels.

    The largest face alone is not reliable: in portraits it is sometimes a bystander's, close to
    the camera and cut by the edge.

    Returns:
        The area of the box in pixels, reduced with its distance from the picture's centre.
    """
    x, y = box.x + box.width / 2 - width / 2, box.y + box.height / 2 - height / 2
    towards_corner = math.hypot(x, y) / math.hypot(width / 2, height / 2)
    return box.width * box.height * math.exp(-_CENTRALITY * towards_corner**2)


def most_prominent_first(
    detections: list[Detection], picture: NDArray[np.uint8]
) -> list[Detection]:
    """Sort the faces of a picture (H, W, 3) by `prominence`."""
    height, width = picture.shape[:2]
    return sorted(detections, key=lambda found: -prominence(found.box, width, height))


class Detector(Protocol):
    """Interface of face detectors. Implementations are thread-safe."""

    @property
    def template(self) -> NDArray[np.float32]:
        """(5, 2): positions of this detector's landmarks in the crops of the training data.

        Detectors differ by pixels in where they place an eye. `shared.faces.align.align` maps
        the landmarks to these positions.
        """
        ...

    def detect(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """Find faces in a picture (H, W, 3) RGB of any size, most prominent first."""
        ...


DetectorName = Literal["fast", "mtcnn"]


@dataclass(frozen=True, slots=True)
class Region:
    """A part of every picture: edges as fractions of width and height.

    Attributes:
        left: in [0, 1).
        top: in [0, 1).
        right: above `left`, at most 1.
        bottom: above `top`, at most 1.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        """Reject an empty or invalid region with ValueError."""
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise ValueError(
                f"region {self.left},{self.top},{self.right},{self.bottom} is not left,top,right,"
                "bottom with 0 <= left < right <= 1 and 0 <= top < bottom <= 1"
            )

    @classmethod
    def parse(cls, text: str) -> "Region":
        """Parse "left,top,right,bottom"; raises ValueError."""
        try:
            left, top, right, bottom = (float(part) for part in text.split(","))
        except ValueError:
            raise ValueError(
                f"region {text!r} is not four numbers: left,top,right,bottom"
            ) from None
        return cls(left, top, right, bottom)


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """Options of detection; `shared.faces.detectors` builds the detector.

    Attributes:
        name: "fast" (BlazeFace, then R-Net and O-Net of MTCNN) or "mtcnn".
        min_face_size: side of the smallest face to find, in pixels, at least 12.
        region: part of the picture to search; None: all of it.
        turned_faces: also find faces turned by about 90, 180 and 270 degrees, at four times the
            time; otherwise only faces with a roll within about 45 degrees.
    """

    name: DetectorName
    min_face_size: float = 20
    region: Region | None = None
    turned_faces: bool = False
