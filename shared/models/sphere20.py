"""Sphere20: the face feature extractor of CosFace (paper, figure 7)."""

from torch import Tensor, nn

EMBEDDING_SIZE = 512
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


class Sphere20(nn.Module):
    """Twenty convolutions in four stages, then one linear layer; no normalisation.

    ::

        crop (3, 112, 96) -> [conv /2, block x1] -> [conv /2, block x2]
                          -> [conv /2, block x4] -> [conv /2, block x1]
                          -> flatten (512 * 7 * 6) -> linear -> embedding (512)

    `width` scales the channels of every stage (1.0 is CosFace's 64, 128, 256, 512).

    Source: Wang et al., CosFace, CVPR 2018; Liu et al., SphereFace, CVPR 2017.
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        previous = 3
        for base, blocks in zip(BASE_WIDTHS, BLOCKS_PER_STAGE, strict=True):
            channels = max(8, round(base * width))
            stages += [nn.Conv2d(previous, channels, 3, stride=2, padding=1), nn.PReLU(channels)]
            stages += [SphereBlock(channels) for _ in range(blocks)]
            previous = channels
        self.stages = nn.Sequential(*stages)
        self.embed = nn.Linear(previous * 7 * 6, EMBEDDING_SIZE)

    def forward(self, crop: Tensor) -> Tensor:
        """(N, 3, 112, 96) in [-1, 1] -> (N, 512), not normalised to unit length."""
        embedding: Tensor = self.embed(self.stages(crop).flatten(1))
        return embedding
