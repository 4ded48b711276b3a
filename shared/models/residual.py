"""The residual block of CompNet and RecNet (paper, figure 6b)."""

from torch import Tensor, nn


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
