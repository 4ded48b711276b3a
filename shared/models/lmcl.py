"""LMCL: the large margin cosine loss of CosFace, the paper's classifier and loss."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class LargeMarginCosineLoss(nn.Module):
    """Softmax over scaled cosines, the true class's cosine lowered by a margin.

    loss = -log( e^{s(cos_y - m)} / (e^{s(cos_y - m)} + sum_{j != y} e^{s cos_j}) )

    Source: Wang et al., CosFace, CVPR 2018, equation 4.
    """

    def __init__(
        self, *, classes: int, size: int, scale: float = 30.0, margin: float = 0.35
    ) -> None:
        super().__init__()
        self.scale = scale
        self.margin = margin
        self.weight = nn.Parameter(torch.empty(classes, size))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embedding: Tensor, label: Tensor) -> Tensor:
        """(N, size) embeddings and (N,) class indices -> the mean loss, a scalar."""
        unit = functional.normalize(embedding)
        cosine = functional.linear(unit, functional.normalize(self.weight))
        margin = torch.zeros_like(cosine).scatter_(1, label[:, None], self.margin)
        return functional.cross_entropy(self.scale * (cosine - margin), label)
