"""A differentiable estimate of a map's size after deflate."""

import torch
from torch import Tensor

# PNG and zlib overhead, the filter byte, and a dynamic Huffman table of about twenty symbols.
OVERHEAD_BYTES = 95.0


def entropy_bytes(latent: Tensor, *, levels: int) -> Tensor:
    """Mean map size of a batch in bytes if every symbol costs its entropy, a scalar.

    Each value is divided between its two nearest symbols, so that the estimate is that of the
    rounded map and has a gradient towards symbols that are already common.

    Args:
        latent: (N, C, H, W) in [-1, 1], not rounded.
        levels: L. Not valid below 17 levels, where several symbols share a byte.
    """
    position = (latent + 1) * ((levels - 1) / 2)
    below = position.detach().floor().clamp(0, levels - 2)
    above_share = position - below
    symbols = torch.arange(levels, device=latent.device)
    lower = (below.flatten()[:, None] == symbols).to(latent.dtype)
    share = above_share.flatten()[:, None]
    counts = (lower * (1 - share)).sum(0) + (lower.roll(1, 1) * share).sum(0)
    probability = counts / counts.sum()
    bits = -(probability * probability.clamp(min=1e-9).log2()).sum()
    return OVERHEAD_BYTES + latent[0].numel() * bits / 8
