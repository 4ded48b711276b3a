"""Stage 1 as in the paper: train CompNet and RecNet on patches of photographs.

compactface train codec --profile paper --photographs FOLDER
"""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from shared.errors import InvalidTraining
from shared.training.codec_recipe import NetworksRecipe
from shared.training.faces import image_files
from shared.training.loop import shuffled, train
from shared.training.optimizers import Group
from shared.training.processes import Process
from shared.training.recipe import Recipe, Schedule
from shared.training.run_folder import start_run


class PatchRecipe(Recipe):
    """Recipe of stage 1 on photographs.

    Attributes:
        networks: the networks.
        size: side of a patch in pixels, a multiple of 8.
        patches: number of distinct patches.
        degrees: largest rotation, in either direction.
        scale: smallest and largest magnification.
        schedule: see `Schedule`.
    """

    networks: NetworksRecipe
    size: int = Field(ge=16, multiple_of=8)
    patches: PositiveInt
    degrees: float = Field(ge=0, le=180)
    scale: tuple[float, float]
    schedule: Schedule


class Patches:
    """Patches of photographs; the same number always gives the same patch."""

    def __init__(self, source: Path, recipe: PatchRecipe) -> None:
        """Decode all photographs below `source`.

        Raises:
            InvalidTraining: there are no photographs.
        """
        self._photographs = [_photograph(read()) for _, read in image_files(source)]
        if not self._photographs:
            raise InvalidTraining("NO_PHOTOGRAPHS", f"no photographs below {source}")
        self._recipe = recipe

    def batches(self, size: int, *, seed: int, start: int) -> Iterator[np.ndarray]:
        """Batches of patch numbers; see `loop.Data`."""
        return shuffled(np.arange(self._recipe.patches), size=size, seed=seed, start=start)

    def load(self, batch: np.ndarray, process: Process) -> dict[str, Tensor]:
        """Load a batch: `patches`, (N, 3, size, size) in [-1, 1]."""
        cut = [self._cut(number) for number in batch[process.rank :: process.count].tolist()]
        patches = torch.cat(cut).to(process.device)
        return {"patches": patches.contiguous(memory_format=torch.channels_last)}

    def _cut(self, number: int) -> Tensor:
        random = np.random.default_rng((self._recipe.schedule.seed, number))
        photograph = self._photographs[number % len(self._photographs)]
        _, _, height, width = photograph.shape
        size = self._recipe.size
        angle = math.radians(random.uniform(-1, 1) * self._recipe.degrees)
        span = size / random.uniform(*self._recipe.scale)
        x, y = (max(0.0, 1 - span / side) * random.uniform(-1, 1) for side in (width, height))
        cos, sin = math.cos(angle) * span, math.sin(angle) * span
        theta = torch.tensor(
            [[[cos / width, -sin / width, x], [sin / height, cos / height, y]]],
            dtype=torch.float32,
        )
        grid = functional.affine_grid(theta, [1, 3, size, size], align_corners=False)
        return functional.grid_sample(
            photograph, grid, padding_mode="reflection", align_corners=False
        )


def _photograph(data: bytes) -> Tensor:
    pixels = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


class PatchTraining(nn.Module):
    """CompNet and RecNet with their reconstruction loss."""

    def __init__(self, recipe: PatchRecipe) -> None:
        super().__init__()
        self.compnet, self.recnet = recipe.networks.make()

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Equation 2 of the paper: the squared error summed over pixels, per patch.

        The paper's pixels are in [0, 1], ours in [-1, 1].
        """
        patches = batch["patches"]
        reconstruction = self.recnet(self.compnet(patches))
        error = (reconstruction.float() - patches.float()) / 2
        squares = error.square().sum((1, 2, 3))
        return {"loss": squares.mean(), "mse": error.square().mean()}


class PatchStage:
    """Trains both networks."""

    def __init__(self, data: Patches, network: PatchTraining) -> None:
        self.data = data
        self.network = network

    def groups(self) -> Sequence[Group]:
        """CompNet and RecNet, at the schedule's learning rate."""
        return [Group([self.network])]

    def compilable(self) -> Sequence[nn.Module]:
        """Both networks."""
        return [self.network.compnet, self.network.recnet]


def train_on_patches(photographs: Path, recipe: PatchRecipe, out: Path) -> None:
    """Train stage 1 on photographs, resuming from a checkpoint in `out`.

    Args:
        photographs: a folder of images or of zip archives.
        recipe: the recipe.
        out: run folder.

    Raises:
        InvalidTraining: there are no photographs, or `out` was started with another recipe.
    """
    torch.manual_seed(recipe.schedule.seed)
    data = Patches(photographs, recipe)
    start_run(out, recipe, {})
    train(PatchStage(data, PatchTraining(recipe)), recipe.schedule, out)
