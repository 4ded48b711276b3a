"""What a student is asked to agree with its teacher on."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def cosine_loss(embedding: Tensor, target: Tensor) -> Tensor:
    """Mean of 1 - cos over the batch; (N, D) each, `target` of unit length."""
    return 1 - (functional.normalize(embedding) * target).sum(1).mean()


def relation_loss(embedding: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of the batch's two cosine matrices, off the diagonal.

    It lets a 512-d student learn the geometry of a 128-d teacher without a head between.
    """
    unit = functional.normalize(embedding)
    difference = (unit @ unit.T - target @ target.T).square()
    n = len(embedding)
    return (difference.sum() - difference.diagonal().sum()) / (n * (n - 1))


def feature_loss(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Mean over layers of the squared difference, relative to the square of the target.

    (N, C, H, W) each; 0 without layers.
    """
    relative = [
        (mine - theirs).square().mean() / theirs.square().mean()
        for mine, theirs in zip(features, targets, strict=True)
    ]
    return torch.stack(relative).mean() if relative else torch.zeros(())
