"""How many bytes deflate will make of a map whose symbols are not all equally likely."""

import torch
from torch import Tensor

# PNG's own bytes, zlib's, the filter byte and a dynamic Huffman table of some twenty symbols.
OVERHEAD_BYTES = 95.0


def entropy_bytes(latent: Tensor, *, levels: int) -> Tensor:
    """Mean size of the maps of a batch if every symbol costs its entropy, a scalar.

    Each value is shared between its two nearest symbols, so that the estimate is that of the
    rounded map and has a gradient: towards symbols that are common already.

    Args:
        latent: (N, C, H, W) in [-1, 1], not rounded.
        levels: L. Below 17, samples of several symbols share a byte and this does not hold.
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
