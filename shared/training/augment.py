"""What happens to a face between a person and a camera, on whole batches of tensors."""

import math

import torch
from torch import Tensor
from torch.nn import functional

CROP_HEIGHT, CROP_WIDTH = 112, 96


def _uniform(n: int, low: float, high: float) -> Tensor:
    return torch.empty(n).uniform_(low, high)


def random_crops(faces: Tensor, *, strength: float = 1.0) -> Tensor:
    """Cut the 112x96 crop out of 112x112 faces with small errors of alignment.

    Args:
        faces: (N, 3, 112, 112) in [-1, 1].
        strength: 1.0 shifts by up to 3 pixels, rotates by 4 degrees and scales by 5 %.

    Returns:
        (N, 3, 112, 96) in [-1, 1].
    """
    n = len(faces)
    angle = _uniform(n, -1, 1) * strength * math.radians(4)
    scale = 1 + _uniform(n, -1, 1) * strength * 0.05
    shift = torch.stack([_uniform(n, -1, 1), _uniform(n, -1, 1)], 1) * strength * 3 / 56
    cos, sin = scale * angle.cos(), scale * angle.sin()
    narrow = CROP_WIDTH / CROP_HEIGHT
    theta = torch.stack(
        [
            torch.stack([cos * narrow, -sin, shift[:, 0]], 1),
            torch.stack([sin * narrow, cos, shift[:, 1]], 1),
        ],
        1,
    )
    grid = functional.affine_grid(theta, [n, 3, CROP_HEIGHT, CROP_WIDTH], align_corners=False)
    return functional.grid_sample(faces, grid, padding_mode="border", align_corners=False)


def random_light(crops: Tensor) -> Tensor:
    """Brightness and contrast per image; one in ten loses its colour."""
    n = len(crops)
    contrast = _uniform(n, 0.75, 1.25)[:, None, None, None]
    brightness = _uniform(n, -0.2, 0.2)[:, None, None, None]
    grey = crops.mean(1, keepdim=True).expand_as(crops)
    crops = torch.where(torch.rand(n, 1, 1, 1) < 0.1, grey, crops)
    return (crops * contrast + brightness).clamp(-1, 1)


def random_distance(crops: Tensor, *, share: float = 0.2) -> Tensor:
    """Every so often a face far from the camera: scaled down two- to threefold and back up."""
    chosen = (torch.rand(len(crops)) < share).nonzero().flatten()
    if len(chosen) == 0:
        return crops
    factor = float(_uniform(1, 0.35, 0.7))
    size = (round(CROP_HEIGHT * factor), round(CROP_WIDTH * factor))
    small = functional.interpolate(crops[chosen], size=size, mode="area")
    far = functional.interpolate(
        small, size=(CROP_HEIGHT, CROP_WIDTH), mode="bilinear", align_corners=False
    )
    return crops.index_copy(0, chosen, far)


def augment(faces: Tensor) -> Tensor:
    """(N, 3, 112, 112) faces in [-1, 1] -> (N, 3, 112, 96) crops as a camera might see them."""
    return random_distance(random_light(random_crops(faces)))
