"""The residual block of CompNet and RecNet (paper, figure 6b), and their first weights."""

import math

import torch
from torch import Tensor, nn

_PRELU_SLOPE = 0.25
"""torch's initial PReLU slope."""


class ResidualBlock(nn.Module):
    """conv - PReLU - dropout - conv, added to the input.

    The paper's variant has no normalisation, PReLU instead of ReLU, and dropout between the
    convolutions. The second convolution starts at zero, so that a fresh network is a plain chain
    of its resampling layers and trains without warm-up.
    """

    def __init__(self, channels: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.PReLU(channels),
            nn.Dropout2d(dropout),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        nn.init.zeros_(self.body[3].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.body[3].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, channels, H, W)."""
        residual: Tensor = self.body(x)
        return x + residual


@torch.no_grad()
def initialize_preserving_variance(network: nn.Module) -> None:
    """Initialize the weights so that each layer preserves the variance of its input.

    torch's default halves it at every layer: after a dozen layers the paper's maps were the same
    for all images to within 0.004, and stage 1 learned nothing. Zero layers stay zero.

    Source: He et al., "Delving deep into rectifiers", 2015, equation 15.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.any():
            spread = math.sqrt(2 / ((1 + _PRELU_SLOPE**2) * _summands(layer)))
            nn.init.normal_(layer.weight, std=spread)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _summands(layer: nn.Conv2d | nn.ConvTranspose2d) -> float:
    """Number of products summed into one output."""
    kernel: float = math.prod(layer.kernel_size)
    if isinstance(layer, nn.ConvTranspose2d):
        kernel /= math.prod(layer.stride)
    return layer.in_channels * kernel
