"""Distillation losses between a student and its teacher."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def cosine_loss(embedding: Tensor, target: Tensor) -> Tensor:
    """Mean of 1 - cos over the batch; (N, D) each, `target` of unit length."""
    return 1 - (functional.normalize(embedding) * target).sum(1).mean()


def relation_loss(embedding: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of the batch's two cosine matrices, off the diagonal.

    It compares a 512-d student with a 128-d teacher without a projection.
    """
    unit = functional.normalize(embedding)
    difference = (unit @ unit.T - target @ target.T).square()
    n = len(embedding)
    return (difference.sum() - difference.diagonal().sum()) / (n * (n - 1))


def feature_loss(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Mean over layers of the squared difference, relative to the squared target.

    Features are (N, C, H, W) each; without layers the loss is 0.
    """
    relative = [
        (mine - theirs).square().mean() / theirs.square().mean()
        for mine, theirs in zip(features, targets, strict=True)
    ]
    return torch.stack(relative).mean() if relative else torch.zeros(())
