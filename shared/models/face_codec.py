"""The networks of our own codecs: they know that what comes is an aligned face.

The paper's CompNet and RecNet are convolutional: every place of the map is written and read in
the same way. In an aligned crop each place has its own meaning, and what tells people apart is
spread over all of them. These networks begin as the paper's, and have dense layers beside the
convolutions next to the map, so that every bit can speak of the whole face.
"""

from torch import Tensor, nn

from shared.models.compnet import CompNet, Widths
from shared.models.recnet import RecNet, growing_layers
from shared.models.residual import ResidualBlock
from shared.models.sphere20 import sphere_stages, stage_channels

MAP_HEIGHT, MAP_WIDTH = 14, 12
_STAGES = 3
_HIDDEN = 128
_THIN = 16
_BLOCKS = 3


class Dense(nn.Module):
    """From a vector, through a hidden layer, to features for every place of the map.

    The last layer starts at zero: what trains beside it comes first.
    """

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(size, _HIDDEN), nn.PReLU(_HIDDEN))
        self.spread = nn.Linear(_HIDDEN, channels * MAP_HEIGHT * MAP_WIDTH)
        self.unflatten = nn.Unflatten(1, (channels, MAP_HEIGHT, MAP_WIDTH))
        nn.init.zeros_(self.spread.weight)
        nn.init.zeros_(self.spread.bias)

    def forward(self, vector: Tensor) -> Tensor:
        """(N, size) -> (N, channels, 14, 12)."""
        features: Tensor = self.unflatten(self.spread(self.hidden(vector)))
        return features


class FaceCompNet(nn.Module):
    """The first stages of an extractor, then a convolution and a dense layer, added.

    ::

        crop (3, 112, 96) -> three stages of sphere20 -+-> conv 3x3 ------------------+-> tanh
                                                       +-> conv 3x3, half size, dense +
                                                            -> map (C, 14, 12)

    The stages start as those of the trained extractor: they know what identifies a face.
    """

    def __init__(self, *, channels: int, width: float) -> None:
        super().__init__()
        self.width = width
        seen = stage_channels(_STAGES - 1, width=width)
        self.stages = sphere_stages(_STAGES, width=width)
        self.project = nn.Conv2d(seen, channels, 3, padding=1)
        self.gather = nn.Sequential(
            nn.Conv2d(seen, 2 * _THIN, 3, stride=2, padding=1),
            nn.PReLU(2 * _THIN),
            nn.Flatten(),
        )
        self.dense = Dense(2 * _THIN * (MAP_HEIGHT // 2) * (MAP_WIDTH // 2), channels)

    def forward(self, crop: Tensor) -> Tensor:
        """(N, 3, 112, 96) in [-1, 1] -> (N, C, 14, 12) in [-1, 1]."""
        features = self.stages(crop)
        latent: Tensor = (self.project(features) + self.dense(self.gather(features))).tanh()
        return latent


class FaceRecNet(nn.Module):
    """A convolution and a dense layer, added, then residual blocks, then the paper's RecNet.

    ::

        map (C, 14, 12) -+-> conv 3x3 ---------------+-> three residual blocks -> deconv x2 ...
                         +-> dense (16), conv 1x1 ---+        -> crop (3, 112, 96)
    """

    def __init__(self, *, channels: int, widths: Widths, dropout: float = 0.0) -> None:
        super().__init__()
        wide = widths[-1]
        self.widen = nn.Conv2d(channels, wide, 3, padding=1)
        self.dense = nn.Sequential(
            nn.Flatten(),
            Dense(channels * MAP_HEIGHT * MAP_WIDTH, _THIN),
            nn.Conv2d(_THIN, wide, 1, bias=False),
        )
        blocks = [ResidualBlock(wide, dropout=dropout) for _ in range(_BLOCKS)]
        self.blocks = nn.Sequential(nn.PReLU(wide), *blocks)
        self.grow = growing_layers(widths, dropout=dropout)

    def forward(self, latent: Tensor) -> Tensor:
        """(N, C, 14, 12) in [-1, 1] -> (N, 3, 112, 96), nominally in [-1, 1], not clipped."""
        crop: Tensor = self.grow(self.blocks(self.widen(latent) + self.dense(latent)))
        return crop


AnyCompNet = CompNet | FaceCompNet
AnyRecNet = RecNet | FaceRecNet


def make_codec(
    *, channels: int, widths: Widths, face_width: float | None, dropout: float = 0.0
) -> tuple[AnyCompNet, AnyRecNet]:
    """Fresh networks: those above with `face_width` of an extractor, or the paper's if None."""
    if face_width is None:
        return (
            CompNet(channels=channels, widths=widths, dropout=dropout),
            RecNet(channels=channels, widths=widths, dropout=dropout),
        )
    return (
        FaceCompNet(channels=channels, width=face_width),
        FaceRecNet(channels=channels, widths=widths, dropout=dropout),
    )
