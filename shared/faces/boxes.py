"""Arithmetic of boxes (left, top, right, bottom), half open, in pixels of the picture."""

import numpy as np
from numpy.typing import NDArray

from shared.faces.sampling import shrunk

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

MAX_CANDIDATES = 1000  # the best per level and stage, which bounds the time for noise


def cut_out(picture: Pixels, boxes: Floats, side: int) -> Pixels:
    """Cut out integer boxes: (N, side, side, 3), black outside the picture."""
    height, width = picture.shape[:2]
    cuts = np.zeros((len(boxes), side, side, 3), np.uint8)
    for cut, (left, top, right, bottom) in zip(cuts, boxes.astype(int), strict=True):
        inside = picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if inside.size:
            edges = (max(-top, 0), max(bottom - height, 0)), (max(-left, 0), max(right - width, 0))
            whole = np.pad(inside, (*edges, (0, 0))) if np.any(edges) else inside
            cut[:] = shrunk(whole, width=side, height=side)
    return cuts


def moved(boxes: Floats, corrections: Floats) -> Floats:
    """Shift each side of the boxes by a fraction of the box's width or height."""
    result: Floats = boxes + corrections * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return result


def squares(boxes: Floats) -> Floats:
    """The integer squares around the boxes' centres that contain the boxes."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    side = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True, initial=0), 1)
    corner = np.trunc(centres - side / 2)
    return np.concatenate([corner, corner + np.ceil(side)], axis=1).astype(np.float32)


def distinct(
    boxes: Floats, scores: Floats, *, overlap: float, of_smaller: bool = False
) -> NDArray[np.intp]:
    """Non-maximum suppression: indices of the boxes to keep, best first.

    Args:
        boxes: (N, 4).
        scores: (N,).
        overlap: largest permitted overlap of two boxes, in [0, 1].
        of_smaller: measure overlap relative to the smaller box instead of the union.
    """
    left, top, right, bottom = boxes.T
    areas = (right - left) * (bottom - top)
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
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
