"""RecNet: reconstructs a crop from a compact map (paper, section 2.2 and figure 5)."""

from torch import Tensor, nn

from shared.models.compnet import Widths
from shared.models.residual import ResidualBlock, initialize_preserving_variance


class RecNet(nn.Module):
    """CompNet mirrored: three transposed convolutions double height and width.

    ::

        map (C, 14, 12) -> conv 3x3 -> deconv x2 -> residual -> deconv x2 -> residual
                        -> deconv x2 -> conv 3x3 -> crop (3, 112, 96)

    `widths` are those of CompNet, used in reverse.
    """

    def __init__(self, *, channels: int, widths: Widths, dropout: float = 0.0) -> None:
        super().__init__()
        wide = widths[-1]
        self.layers = nn.Sequential(
            nn.Conv2d(channels, wide, 3, padding=1),
            nn.PReLU(wide),
            *growing_layers(widths, dropout=dropout),
        )
        initialize_preserving_variance(self)

    def forward(self, latent: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] -> (N, 3, 8H, 8W), nominally in [-1, 1], not clipped."""
        crop: Tensor = self.layers(latent)
        return crop


def growing_layers(widths: Widths, *, dropout: float) -> nn.Sequential:
    """Upsampling layers: map-sized features of `widths[3]` channels to a crop."""
    w1, w2, w3, w4 = widths
    return nn.Sequential(
        nn.ConvTranspose2d(w4, w3, 4, stride=2, padding=1),
        nn.PReLU(w3),
        ResidualBlock(w3, dropout=dropout),
        nn.ConvTranspose2d(w3, w2, 4, stride=2, padding=1),
        nn.PReLU(w2),
        ResidualBlock(w2, dropout=dropout),
        nn.ConvTranspose2d(w2, w1, 4, stride=2, padding=1),
        nn.PReLU(w1),
        nn.Conv2d(w1, 3, 3, padding=1),
    )
