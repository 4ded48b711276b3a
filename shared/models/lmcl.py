"""LMCL: the large margin cosine loss of CosFace, the paper's classifier and loss."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class LargeMarginCosineLoss(nn.Module):
    """Softmax over scaled cosines, with a margin subtracted from the true class's cosine.

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
        """(N, size) embeddings and (N,) classes -> the mean loss, a scalar.

        Faces of class NOBODY (-1), whose identity is unknown, are ignored.
        """
        unit = functional.normalize(embedding)
        cosine = functional.linear(unit, functional.normalize(self.weight))
        true = label.clamp(min=0)[:, None]
        margin = torch.zeros_like(cosine).scatter_(1, true, self.margin)
        logits = self.scale * (cosine - margin)
        known = (label >= 0).sum().clamp(min=1)
        total = functional.cross_entropy(logits, label, ignore_index=-1, reduction="sum")
        return total / known
