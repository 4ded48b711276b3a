"""Fast detection: BlazeFace proposes faces in one pass, R-Net and O-Net refine them.

Bazarevsky et al.: "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019. The
network is MediaPipe's full-range model; `blazeface.md` documents its source. It was made for
192x192 pixels, but is fully convolutional and runs at any size here.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from shared.faces.boxes import Floats, Pixels, cut_out, distinct, squares
from shared.faces.detect import Detection, most_prominent_first
from shared.faces.refine import ONET_TEMPLATE, RNET_SIDE, Faces, Refiner, open_session
from shared.faces.sampling import scaled

_CELL = 12.8  # pixels of the smallest detectable face on the finest level
_SMALLEST = 12  # pixels; smaller faces cannot be identified
_STRIDE = 4  # pixels between output positions
_MULTIPLE = 32  # the input's sides must be multiples of this
_LEVEL_STEP = 1 / 3  # scale between pyramid levels; finds faces of 12 to 100 pixels
_LAST_LEVEL = 128  # pixels; on a level of this size a face may fill the picture
_MIN_SCORE = 0.1  # low, since R-Net and O-Net decide
_MAX_FACES = 300  # most likely proposals per picture; bounds the time for a frame of noise

# From BlazeFace's box to the square of MTCNN's P-Net: medians over 341 faces, relative to the box.
_RISE = 0.068
_GROWTH = 1.132

# R-Net and O-Net are sensitive to the position of the box: a shift of a tenth may cost a clear face
# its score. MTCNN proposes many boxes per face. Here R-Net sees each box at five positions, of
# which two must agree.
_STEP = 2  # pixels between positions, of R-Net's 24
_LOOKS = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))  # (down, across) in steps, centre first
_MIN_AGREEING = 2
_MIN_FIRST = 0.3  # R-Net score at the centre below which the other four are skipped
_MIN_RNET = 0.7
_MIN_ONET = 0.95
_AS_GOOD = 0.2  # boxes within this score of the best contribute to the landmarks
_HOPELESS = 0.5  # boxes with a lower score at the mean of R-Net's boxes are not shown again
_SURE = 0.999  # nor are those with a higher one; see `refine`


class FastDetector:
    """BlazeFace, R-Net and O-Net on ONNX Runtime.

    Args:
        min_face_size: side of the smallest face to find, in pixels, at least 12. Halving it
            makes detection up to four times slower.
        max_side: larger pictures are scanned with their longer side reduced to this, which misses
            faces smaller than 1/80 of it; the faces found are refined at full resolution.
        threads: cores per call.

    Raises:
        ValueError: `min_face_size` is below 12.
        ModuleNotFoundError: the extra `encoder` is not installed.
    """

    template = ONET_TEMPLATE

    def __init__(self, *, min_face_size: float = 24, max_side: int = 960, threads: int = 1) -> None:
        if min_face_size < _SMALLEST:
            raise ValueError(
                f"min_face_size is {min_face_size}; at least {_SMALLEST} pixels are needed"
            )
        self._min_face_size = min_face_size
        self._max_side = max_side
        self._network = open_session(Path(__file__).with_name("blazeface.onnx"), threads)
        self._refiner = Refiner(threads=threads)

    def detect(self, picture: Pixels) -> list[Detection]:
        """Find faces in a picture (H, W, 3) RGB of any size, most prominent first."""
        faces = self._refine(picture, self._scan(picture))
        faces = self._refiner.accepted(picture, faces[faces.scores > _MIN_ONET])
        found = zip(faces.boxes, faces.scores, faces.points, strict=True)
        return most_prominent_first([Detection.of(*face) for face in found], picture)

    def _scan(self, picture: Pixels) -> Floats:
        """Proposed boxes (N, 4), most likely first."""
        longest = max(picture.shape[:2])
        scale = min(_CELL / self._min_face_size, self._max_side / longest)
        if min(picture.shape[:2]) * scale < _CELL:
            return np.empty((0, 4), np.float32)
        level, found = Image.fromarray(picture), []
        while True:
            level = _resized(level, picture.shape, scale)
            found.append(self._scan_level(np.asarray(level), scale))
            if longest * scale <= _LAST_LEVEL:
                break
            scale *= _LEVEL_STEP
        boxes = np.concatenate([boxes for boxes, _ in found])
        scores = np.concatenate([scores for _, scores in found])
        return boxes[distinct(boxes, scores, overlap=0.5)[:_MAX_FACES]]

    def _scan_level(self, level: Pixels, scale: float) -> tuple[Floats, Floats]:
        """Boxes (N, 4) in pixels of the picture, and their scores (N,) in [0, 1]."""
        height, width = (-(-side // _MULTIPLE) * _MULTIPLE for side in level.shape[:2])
        padded = np.zeros((height, width, 3), np.uint8)
        padded[: level.shape[0], : level.shape[1]] = level
        shown = (padded.transpose(2, 0, 1)[np.newaxis].astype(np.float32) - 127.5) / 127.5
        boxes, odds = self._network.run(["boxes", "scores"], {"picture": shown})
        scores = 1 / (1 + np.exp(-np.clip(odds[0, 0], -80, 80)))
        y, x = np.nonzero(scores > _MIN_SCORE)
        place = np.stack([x, y], axis=1) * _STRIDE + _STRIDE / 2
        # Of 16 values, 4 are the box (centre relative to the position, and size), 12 are points.
        across, down, wide, high = boxes[0, :4, y, x].T
        centre = place + np.stack([across, down], axis=1)
        half = np.stack([wide, high], axis=1) / 2
        corners = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32) / scale
        kept = distinct(corners, scores[y, x], overlap=0.3)
        return corners[kept], scores[y, x][kept]

    def _refine(self, picture: Pixels, boxes: Floats) -> Faces:
        """Refine boxes with R-Net and O-Net; returns faces of any score."""
        looks, cuts = _looks(picture, boxes)
        middle, first = self._refiner.correct(looks[:, 0], cuts[:, 0])
        worth = first > _MIN_FIRST
        more, others = self._refiner.correct(
            looks[worth, 1:].reshape(-1, 4), cuts[worth, 1:].reshape(-1, RNET_SIDE, RNET_SIDE, 3)
        )
        corrected = np.concatenate([middle[worth, None], more.reshape(-1, len(_LOOKS) - 1, 4)], 1)
        scores = np.column_stack([first[worth], others.reshape(-1, len(_LOOKS) - 1)])
        weights = np.where(scores > _MIN_RNET, scores, 0)
        agreed = (weights > 0).sum(axis=1) >= _MIN_AGREEING
        corrected, weights = corrected[agreed], weights[agreed]
        means = (corrected * weights[..., None]).sum(axis=1) / weights.sum(axis=1)[:, None]
        faces = self._refiner.locate(picture, squares(means))
        for row in np.flatnonzero((faces.scores > _HOPELESS) & (faces.scores < _SURE)):
            again = self._refiner.locate(picture, squares(corrected[row][weights[row] > 0]))
            # One good look does not make a face, but makes one sure, as among MTCNN's many boxes.
            needed = 1 if faces.scores[row] > _MIN_ONET else _MIN_AGREEING
            faces.boxes[row], faces.points[row] = _consensus(again)
            faces.scores[row] = np.sort(again.scores)[-needed:].mean()
        return faces


def _looks(picture: Pixels, boxes: Floats) -> tuple[Floats, Pixels]:
    """The squares for R-Net, five per box: (N, 5, 4), and their pixels (N, 5, 24, 24, 3)."""
    sides = boxes[:, 2:3] - boxes[:, :1]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - sides * (0, _RISE)
    pixel = sides * _GROWTH / RNET_SIDE
    half = pixel * (RNET_SIDE / 2 + _STEP)
    around = squares(np.concatenate([centres - half, centres + half], axis=1))
    drawn = cut_out(picture, around, RNET_SIDE + 2 * _STEP)
    pixel = (around[:, 2:3] - around[:, :1]) / (RNET_SIDE + 2 * _STEP)
    looks, cuts = [], []
    for down, across in _LOOKS:
        corner = around[:, :2] + pixel * (across * _STEP, down * _STEP)
        looks.append(np.concatenate([corner, corner + pixel * RNET_SIDE], axis=1))
        y, x = down * _STEP, across * _STEP
        cuts.append(drawn[:, y : y + RNET_SIDE, x : x + RNET_SIDE])
    return np.stack(looks, axis=1).astype(np.float32), np.stack(cuts, axis=1)


def _consensus(faces: Faces) -> tuple[Floats, Floats]:
    """Mean box and points of one face at several positions."""
    good = faces[faces.scores >= faces.scores.max() - _AS_GOOD]
    weights = good.scores / good.scores.sum()
    box, points = np.tensordot(weights, good.boxes, 1), np.tensordot(weights, good.points, 1)
    return box, points


def _resized(picture: Image.Image, shape: tuple[int, ...], scale: float) -> Image.Image:
    height, width = (max(1, round(side * scale)) for side in shape[:2])
    return scaled(picture, width=width, height=height)
