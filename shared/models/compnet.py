"""CompNet: compresses an aligned crop into a compact map (paper, section 2.2 and figure 5)."""

from torch import Tensor, nn

from shared.models.residual import ResidualBlock, initialize_preserving_variance

Widths = tuple[int, int, int, int]


class CompNet(nn.Module):
    """Five convolutions; the second, third and fourth halve height and width.

    ::

        crop (3, 112, 96) -> conv 3x3 -> conv /2 -> residual -> conv /2 -> residual
                          -> conv /2 -> conv 3x3 -> tanh -> map (C, 14, 12)

    `widths` are the output channels of the first four convolutions; the paper uses 64
    throughout. A narrow first layer saves most time, since only it runs at full resolution.
    """

    def __init__(self, *, channels: int, widths: Widths, dropout: float = 0.0) -> None:
        super().__init__()
        w1, w2, w3, w4 = widths
        self.layers = nn.Sequential(
            nn.Conv2d(3, w1, 3, padding=1),
            nn.PReLU(w1),
            nn.Conv2d(w1, w2, 3, stride=2, padding=1),
            nn.PReLU(w2),
            ResidualBlock(w2, dropout=dropout),
            nn.Conv2d(w2, w3, 3, stride=2, padding=1),
            nn.PReLU(w3),
            ResidualBlock(w3, dropout=dropout),
            nn.Conv2d(w3, w4, 3, stride=2, padding=1),
            nn.PReLU(w4),
            nn.Conv2d(w4, channels, 3, padding=1),
            nn.Tanh(),
        )
        initialize_preserving_variance(self)

    def forward(self, crop: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1], H and W multiples of 8 -> (N, C, H/8, W/8) in [-1, 1]."""
        latent: Tensor = self.layers(crop)
        return latent
