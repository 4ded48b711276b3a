"""Image augmentation on batches of tensors, simulating poor cameras and imprecise alignment."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from shared.training.faces import MARGIN
from shared.training.jpeg import jpeg

CROP_HEIGHT, CROP_WIDTH = 112, 96
# Radius of the cylinder that models a head, in half widths of a 112x112 face; and the share by
# which the aligned landmarks (eyes and mouth) move with its front.
_HEAD_RADIUS, _FACE_FOLLOWS = 1.15, 0.85


class Placement(NamedTuple):
    """Alignment errors, (N,) each.

    Attributes:
        angle: radians.
        scale: 1 keeps the size; larger values show more of the surroundings.
        x: shift to the right, in half widths of the face.
        y: shift down, likewise.
    """

    angle: Tensor
    scale: Tensor
    x: Tensor
    y: Tensor


def place(faces: Tensor, placement: Placement) -> Tensor:
    """Resample (N, 3, H, W) faces under a placement; borders are replicated."""
    cos = placement.scale * placement.angle.cos()
    sin = placement.scale * placement.angle.sin()
    theta = torch.stack(
        [
            torch.stack([cos, -sin, placement.x], 1),
            torch.stack([sin, cos, placement.y], 1),
        ],
        1,
    )
    grid = functional.affine_grid(theta, list(faces.shape), align_corners=False)
    return functional.grid_sample(faces, grid, padding_mode="border", align_corners=False)


def turn(faces: Tensor, angle: Tensor) -> Tensor:
    """Rotate (N, 3, H, W) heads about the vertical axis, modelled as upright cylinders.

    Newly visible parts repeat the edge. The face stays centred, as after alignment.

    Args:
        faces: aligned faces.
        angle: (N,) radians; positive turns the nose to the right of the image.
    """
    n, _, height, width = faces.shape
    x = (torch.arange(width, device=faces.device) + 0.5) * (2 / width) - 1
    y = (torch.arange(height, device=faces.device) + 0.5) * (2 / height) - 1
    on_cylinder = x[None] / _HEAD_RADIUS + _FACE_FOLLOWS * angle.sin()[:, None]
    before = on_cylinder.clamp(-1, 1).asin() - angle[:, None]
    source = _HEAD_RADIUS * before.clamp(-math.pi / 2, math.pi / 2).sin()
    grid = torch.stack(
        [source[:, None, :].expand(n, height, width), y[None, :, None].expand(n, height, width)],
        -1,
    )
    return functional.grid_sample(faces, grid, padding_mode="border", align_corners=False)


def random_placement(n: int, *, device: torch.device) -> Placement:
    """Random alignment errors: up to 4 degrees, 5 % in size and 3 pixels of 112."""
    angle, scale, x, y = (2 * torch.rand(4, n, device=device) - 1).unbind()
    return Placement(angle * math.radians(4), 1 + 0.05 * scale, x * 3 / 56, y * 3 / 56)


def cut_crops(faces: Tensor) -> Tensor:
    """Cut the central (N, 3, 112, 96) crop that the product uses from (N, 3, 112, 112)."""
    return faces[..., MARGIN:-MARGIN]


def degrade(crops: Tensor) -> Tensor:
    """Degrade (N, 3, 112, 96) crops in [-1, 1] as a poor camera would."""
    return _occlusion(_compression(_distance(_noise(_light(crops)))))


def _uniform(like: Tensor, low: float, high: float) -> Tensor:
    """Uniform random numbers (N, 1, 1, 1) for a batch."""
    return torch.empty(len(like), 1, 1, 1, device=like.device).uniform_(low, high)


def _some(crops: Tensor, share: float) -> Tensor:
    """Rows of a random share of the batch; drawn on the host, which avoids a device sync."""
    return (torch.rand(len(crops)) < share).nonzero().flatten().to(crops.device)


def _light(crops: Tensor) -> Tensor:
    """Change contrast, brightness and gamma per image; convert one in ten to gray."""
    grey = crops.mean(1, keepdim=True).expand_as(crops)
    crops = torch.where(_uniform(crops, 0, 1) < 0.1, grey, crops)
    gamma = _uniform(crops, -0.35, 0.35).exp()
    crops = ((crops.clamp(-1, 1) + 1) / 2 + 1e-4).pow(gamma) * 2 - 1
    return (crops * _uniform(crops, 0.75, 1.25) + _uniform(crops, -0.2, 0.2)).clamp(-1, 1)


def _noise(crops: Tensor, *, share: float = 0.2) -> Tensor:
    """Add sensor noise to a share of the images."""
    strength = torch.where(_uniform(crops, 0, 1) < share, _uniform(crops, 0, 0.12), 0.0)
    return crops + strength * torch.randn_like(crops)


def _distance(crops: Tensor, *, share: float = 0.2) -> Tensor:
    """Blur a share of the images by scaling them down two- to threefold and back."""
    chosen = _some(crops, share)
    if len(chosen) == 0:
        return crops
    factor = float(torch.empty(()).uniform_(0.35, 0.7))
    size = (round(CROP_HEIGHT * factor), round(CROP_WIDTH * factor))
    small = functional.interpolate(crops[chosen], size=size, mode="area")
    far = functional.interpolate(
        small, size=(CROP_HEIGHT, CROP_WIDTH), mode="bilinear", align_corners=False
    )
    return crops.index_copy(0, chosen, far)


def _compression(crops: Tensor, *, share: float = 0.15) -> Tensor:
    """Apply JPEG of quality 15 to 60 to a share of the images."""
    chosen = _some(crops, share)
    if len(chosen) == 0:
        return crops
    quality = torch.randint(15, 61, (len(chosen),), device=crops.device)
    return crops.index_copy(0, chosen, jpeg(crops[chosen], quality))


def _occlusion(crops: Tensor, *, share: float = 0.15) -> Tensor:
    """Cover part of a share of the images with a flat rectangle of up to half each side."""
    _, _, height, width = crops.shape
    row = torch.arange(height, device=crops.device)[None, None, :, None] / height
    column = torch.arange(width, device=crops.device)[None, None, None, :] / width
    tall, wide = _uniform(crops, 0.1, 0.5), _uniform(crops, 0.1, 0.5)
    top = _uniform(crops, 0, 1) * (1 - tall)
    left = _uniform(crops, 0, 1) * (1 - wide)
    inside = (row >= top) & (row < top + tall) & (column >= left) & (column < left + wide)
    hidden = inside & (_uniform(crops, 0, 1) < share)
    colour = torch.empty(len(crops), 3, 1, 1, device=crops.device).uniform_(-1, 1)
    return torch.where(hidden, colour, crops)
