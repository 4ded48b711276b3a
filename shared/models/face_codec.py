"""Networks of the project's own codecs, specialized to aligned faces.

The paper's CompNet and RecNet are convolutional and treat every position of the map alike. In an
aligned crop each position has its own meaning, and the identity is spread over all of them. Here
CompNet contains a face extractor and writes its output into the map together with the face's
appearance; RecNet reads the map as a whole.

One pair of networks serves all operating points of a family: a smaller map is a prefix of a
larger one.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.models.compnet import CompNet, Widths
from shared.models.recnet import RecNet, growing_layers
from shared.models.residual import ResidualBlock
from shared.models.sphere20 import sphere_stages, stage_channels

MAP_HEIGHT, MAP_WIDTH = 14, 12
PLACES = MAP_HEIGHT * MAP_WIDTH
IDENTITY = 128
"""Size of the identity vector that CompNet writes into the map."""

_BLOCK = 8
_SEEN = 96
_THIN = 32
_HIDDEN = 128
_READ = 256
_SPREAD = 16
_BLOCKS = 3
_STAGES_BEFORE_MAP = 3
# For unit-length identities, tanh of this gain times a random direction fills four levels evenly.
_FRAME_GAIN = 1.2


class Identity(nn.Module):
    """The features of a face, scaled to unit length; see `Embedder` for `mirrored`."""

    def __init__(self, *, width: float, mirrored: bool) -> None:
        super().__init__()
        self._mirrored = mirrored
        self.stages = sphere_stages(width=width)
        self.before = self._layers_before(_STAGES_BEFORE_MAP)
        self.embed = nn.Linear(stage_channels(3, width=width) * (PLACES // 4), IDENTITY)

    def _layers_before(self, stages: int) -> int:
        halvings = [n for n, layer in enumerate(self.stages) if isinstance(layer, nn.Conv2d)]
        return halvings[stages]

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, 112, 96) -> identity (N, 128) and third-stage features (N, C, 14, 12)."""
        seen = torch.cat([crop, crop.flip(-1)]) if self._mirrored else crop
        features = self.stages[: self.before](seen)
        embedded = self.embed(self.stages[self.before :](features).flatten(1)).float()
        unit = functional.normalize(embedded)
        if not self._mirrored:
            return unit, _scaled(features)
        one, other = torch.unflatten(unit, 0, (2, -1)).unbind()
        return functional.normalize(one + other), _scaled(torch.unflatten(features, 0, (2, -1))[0])


def _scaled(features: Tensor) -> Tensor:
    """(N, C, H, W) scaled to a mean square of 1, since unnormalised features grow unbounded."""
    square = features.float().square().mean((1, 2, 3), keepdim=True)
    return (features * (square + 1e-6).rsqrt()).to(features.dtype)


class FaceCompNet(nn.Module):
    """An extractor whose identity a dense layer spreads over the map, plus local appearance.

    ::

        crop --+-> sphere20, mirror optional -+-> identity (128) -----------+-> dense --+
               |                              +-> third stage (14, 12) -+   |           |
               +-> blocks of 8x8 pixels, conv 3x3 ----------------------+---+-> conv ---+-> tanh
                                                                        look, hidden        -> map

    The extractor is initialized from the trained one.
    """

    def __init__(self, *, channels: int, width: float, mirrored: bool = True) -> None:
        super().__init__()
        self.width = width
        seen = _SEEN + stage_channels(_STAGES_BEFORE_MAP - 1, width=width)
        self.identity = Identity(width=width, mirrored=mirrored)
        self.blocks = nn.Sequential(
            nn.PixelUnshuffle(_BLOCK),
            nn.Conv2d(3 * _BLOCK**2, _SEEN, 3, padding=1),
            nn.PReLU(_SEEN),
        )
        self.project = nn.Conv2d(seen, channels, 3, padding=1)
        self.look = nn.Sequential(
            nn.Conv2d(seen, _THIN, 3, stride=2, padding=1),
            nn.PReLU(_THIN),
            nn.Flatten(),
            nn.Linear(_THIN * (PLACES // 4), _HIDDEN),
            nn.PReLU(_HIDDEN),
        )
        self.spread = nn.Linear(IDENTITY + _HIDDEN, channels * PLACES)
        self.unflatten = nn.Unflatten(1, (channels, MAP_HEIGHT, MAP_WIDTH))
        self._initialize()

    @torch.no_grad()
    def _initialize(self) -> None:
        """Initialize: identity in the first and third channel, appearance in the others."""
        nn.init.zeros_(self.spread.weight)
        nn.init.zeros_(self.spread.bias)
        for channel in (0, 2)[: self.project.out_channels]:
            rows = slice(channel * PLACES, (channel + 1) * PLACES)
            directions = functional.normalize(torch.randn(PLACES, IDENTITY))
            self.spread.weight[rows, :IDENTITY] = _FRAME_GAIN * math.sqrt(IDENTITY) * directions
            self.project.weight[channel].zero_()

    def forward(self, crop: Tensor) -> Tensor:
        """(N, 3, 112, 96) in [-1, 1] -> (N, C, 14, 12) in [-1, 1]."""
        identity, features = self.identity(crop)
        seen = torch.cat([self.blocks(crop), features], 1)
        everywhere = self.spread(torch.cat([identity.to(seen.dtype), self.look(seen)], 1))
        latent: Tensor = (self.project(seen) + self.unflatten(everywhere)).tanh()
        return latent


class FaceRecNet(nn.Module):
    """A convolution and a dense layer, added, then residual blocks, then the paper's RecNet.

    ::

        map (C, 14, 12) -+-> conv 3x3 ---------------------+-> three residual blocks -> deconv x2
                         +-> dense (256, 16), conv 1x1 ----+        ... -> crop (3, 112, 96)

    It also reconstructs from a prefix of a map: omitted symbols are 0.
    """

    def __init__(self, *, channels: int, widths: Widths, dropout: float = 0.0) -> None:
        super().__init__()
        wide = widths[-1]
        self.widen = nn.Conv2d(channels, wide, 3, padding=1)
        self.read = nn.Sequential(nn.Linear(channels * PLACES, _READ), nn.PReLU(_READ))
        self.spread = nn.Sequential(
            nn.Linear(_READ, _SPREAD * PLACES),
            nn.Unflatten(1, (_SPREAD, MAP_HEIGHT, MAP_WIDTH)),
            nn.Conv2d(_SPREAD, wide, 1, bias=False),
        )
        blocks = [ResidualBlock(wide, dropout=dropout) for _ in range(_BLOCKS)]
        self.blocks = nn.Sequential(nn.PReLU(wide), *blocks)
        self.grow = growing_layers(widths, dropout=dropout)

    def forward(self, latent: Tensor) -> Tensor:
        """(N, C, 14, 12) in [-1, 1] -> (N, 3, 112, 96), nominally in [-1, 1], not clipped."""
        features = self.widen(latent) + self.spread(self.read(latent.flatten(1)))
        crop: Tensor = self.grow(self.blocks(features))
        return crop


AnyCompNet = CompNet | FaceCompNet
AnyRecNet = RecNet | FaceRecNet


def make_codec(
    *,
    channels: int,
    widths: Widths,
    face_width: float | None,
    face_mirrored: bool = True,
    dropout: float = 0.0,
) -> tuple[AnyCompNet, AnyRecNet]:
    """Untrained networks: face networks of width `face_width`, or the paper's if it is None.

    With `face_mirrored`, CompNet's extractor also sees the mirror image, at twice the cost.
    """
    if face_width is None:
        return (
            CompNet(channels=channels, widths=widths, dropout=dropout),
            RecNet(channels=channels, widths=widths, dropout=dropout),
        )
    return (
        FaceCompNet(channels=channels, width=face_width, mirrored=face_mirrored),
        FaceRecNet(channels=channels, widths=widths, dropout=dropout),
    )
