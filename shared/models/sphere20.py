"""Sphere20: the face feature extractor of CosFace (paper, figure 7)."""

from torch import Tensor, nn

EMBEDDING_SIZE = 512
"""CosFace's embedding size, and our default."""
BLOCKS_PER_STAGE = (1, 2, 4, 1)
BASE_WIDTHS = (64, 128, 256, 512)


class SphereBlock(nn.Module):
    """x + PReLU(conv(PReLU(conv(x)))): the residual block of SphereFace."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.PReLU(channels),
        )
        for layer in (self.body[0], self.body[2]):
            nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, channels, H, W)."""
        residual: Tensor = self.body(x)
        return x + residual


def stage_channels(stage: int, *, width: float) -> int:
    """Output channels of a stage, counted from 0."""
    return max(8, round(BASE_WIDTHS[stage] * width))


def sphere_stages(count: int = 4, *, width: float) -> nn.Sequential:
    """The first `count` stages; each halves height and width."""
    layers: list[nn.Module] = []
    previous = 3
    for stage in range(count):
        channels = stage_channels(stage, width=width)
        layers += [nn.Conv2d(previous, channels, 3, stride=2, padding=1), nn.PReLU(channels)]
        layers += [SphereBlock(channels) for _ in range(BLOCKS_PER_STAGE[stage])]
        previous = channels
    return nn.Sequential(*layers)


class Sphere20(nn.Module):
    """Twenty convolutions in four stages, then one linear layer; no normalisation.

    ::

        crop (3, 112, 96) -> [conv /2, block x1] -> [conv /2, block x2]
                          -> [conv /2, block x4] -> [conv /2, block x1]
                          -> flatten (512 * 7 * 6) -> linear -> embedding (D)

    `width` scales the channels of every stage (1.0 is CosFace's 64, 128, 256, 512).

    Source: Wang et al., CosFace, CVPR 2018; Liu et al., SphereFace, CVPR 2017.
    """

    def __init__(self, *, width: float = 1.0, embedding_size: int = EMBEDDING_SIZE) -> None:
        super().__init__()
        self.stages = sphere_stages(width=width)
        self.embed = nn.Linear(stage_channels(3, width=width) * 7 * 6, embedding_size)

    def forward(self, crop: Tensor) -> Tensor:
        """(N, 3, 112, 96) in [-1, 1] -> (N, D), not normalised to unit length."""
        embedding: Tensor = self.embed(self.stages(crop).flatten(1))
        return embedding
