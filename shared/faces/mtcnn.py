"""MTCNN: a cascade of three networks that detects faces with five landmarks.

It is the detector of the paper. P-Net scans an image pyramid for squares that may hold a face;
R-Net and O-Net (`shared.faces.refine`) refine them. The package's own cascade is not used: it
shares state between threads, rounds landmarks to integers, does not import on Python 3.13, and
with OpenCV 5, which pads pooling on the wrong side, its landmarks are 2 % of the face's size too
far right and down.
"""

import numpy as np
from PIL import Image

from shared.faces.boxes import Floats, Pixels, cut_out, distinct, moved, squares
from shared.faces.detect import Detection, most_prominent_first
from shared.faces.refine import ONET_TEMPLATE, RNET_SIDE, Faces, Refiner, open_network, run
from shared.faces.sampling import scaled

_CELL = 12  # side of P-Net's receptive square
_STRIDE = 2  # pixels between output positions
_BAND = 128  # rows of a level, even
_BAND_OVERLAP = _CELL - _STRIDE  # rows
_PYRAMID_STEP = 0.709  # about 1 / sqrt(2), as published


class MtcnnDetector:
    """MTCNN on ONNX Runtime.

    Args:
        min_face_size: side of the smallest face to find, in pixels, at least 12. Halving it
            makes detection up to four times slower.
        max_side: larger pictures are scanned with their longer side reduced to this, which misses
            faces smaller than 1/80 of it; the faces found are refined at full resolution.
        thresholds: minimum scores of P-Net, R-Net and O-Net, in [0, 1].
        threads: cores per call.

    Raises:
        ValueError: `min_face_size` is below 12.
        ModuleNotFoundError: the extra `encoder` is not installed.
    """

    template = ONET_TEMPLATE

    def __init__(
        self,
        *,
        min_face_size: float = 20,
        max_side: int = 1280,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.95),
        threads: int = 1,
    ) -> None:
        if min_face_size < _CELL:  # the pyramid would enlarge pictures
            raise ValueError(
                f"min_face_size is {min_face_size}; at least {_CELL} pixels are needed"
            )
        self._min_face_size = min_face_size
        self._max_side = max_side
        self._thresholds = thresholds
        self._pnet = open_network("pnet", threads)
        self._refiner = Refiner(threads=threads)

    def detect(self, picture: Pixels) -> list[Detection]:
        """Find faces in a picture (H, W, 3) RGB of any size, most prominent first."""
        faces = self._locate(picture, self._reject(picture, self._scan(picture)))
        return most_prominent_first(
            [
                Detection.of(*face)
                for face in zip(faces.boxes, faces.scores, faces.points, strict=True)
            ],
            picture,
        )

    def _scan(self, picture: Pixels) -> Floats:
        longest = max(picture.shape[:2])
        base = _resized(Image.fromarray(picture), min(1.0, self._max_side / longest))
        scale = min(_CELL / self._min_face_size, self._max_side / longest)
        found = [np.empty((0, 9), np.float32)]
        while min(picture.shape[:2]) * scale >= _CELL:
            found.append(self._scan_level(picture.shape, base, scale))
            scale *= _PYRAMID_STEP
        candidates = np.concatenate(found)
        candidates = candidates[distinct(candidates[:, :4], candidates[:, 4], overlap=0.7)]
        return squares(moved(candidates[:, :4], candidates[:, 5:]))

    def _scan_level(self, shape: tuple[int, ...], base: Image.Image, scale: float) -> Floats:
        """Rows (box, score, four corrections) of one pyramid level."""
        height, width = (int(np.ceil(side * scale)) for side in shape[:2])
        level = np.asarray(scaled(base, width=width, height=height))
        corrections, scores = self._propose(level)
        # x is also the first axis of the networks' output.
        x, y = np.nonzero(scores[0, :, :, 1] >= self._thresholds[0])
        corner = np.stack([x, y], axis=1) * _STRIDE
        # The published cascade counts pixels from 1, which makes its squares slightly smaller.
        corners = [(corner + 1) / scale - 1, (corner + _CELL) / scale]
        boxes = np.concatenate(corners, axis=1, dtype=np.float32)
        score = scores[0, x, y, 1]
        kept = distinct(boxes, score, overlap=0.5)
        return np.column_stack([boxes, score, corrections[0, x, y]])[kept]

    def _propose(self, level: Pixels) -> tuple[Floats, Floats]:
        """Run P-Net in bands of rows: the result is the same, and memory is bounded."""
        bands = []
        for top in range(0, max(1, level.shape[0] - _BAND_OVERLAP), _BAND):
            band = level[top : top + _BAND + _BAND_OVERLAP]
            bands.append(run(self._pnet, band[np.newaxis]))
        corrections, scores = (np.concatenate(parts, axis=2) for parts in zip(*bands, strict=True))
        return corrections, scores

    def _reject(self, picture: Pixels, boxes: Floats) -> Floats:
        corrected, scores = self._refiner.correct(boxes, cut_out(picture, boxes, RNET_SIDE))
        passed = scores > self._thresholds[1]
        # Overlap is measured before correction, as published.
        kept = np.flatnonzero(passed)[distinct(boxes[passed], scores[passed], overlap=0.7)]
        return squares(corrected[kept])

    def _locate(self, picture: Pixels, boxes: Floats) -> Faces:
        faces = self._refiner.locate(picture, boxes)
        return self._refiner.accepted(picture, faces[faces.scores > self._thresholds[2]])


def _resized(picture: Image.Image, scale: float) -> Image.Image:
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture if scale == 1 else scaled(picture, width=width, height=height)
