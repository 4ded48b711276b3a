"""Recipes: the settings of a training stage, read from TOML files."""

import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from shared.errors import InvalidTraining

RECIPES = Path(__file__).parent / "recipes"
"""One folder per profile, with one file per stage."""

Share = Field(ge=0, le=1)
ViewSource = Literal["cached", "live"]
"""`cached`: photographs and mixtures whose embeddings `train cache` and `train views` stored.
`live`: drawn anew for every batch and shown to the teachers at once; for GPUs."""


class Recipe(BaseModel):
    """A part of a recipe; unknown fields are errors, since a typo could cost days of training."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(Recipe):
    """Length, step size and optimizer of a training stage.

    Attributes:
        samples: total faces to see.
        minutes: limit of the training time, summed over resumptions; the learning rate decays
            within it. None for no limit.
        batch: faces per step, over all processes.
        optimizer: `muon` applies to convolution filters, with AdamW for the rest.
        peak_rate: learning rate after warm-up.
        final_rate: learning rate at the end.
        curve: `stable` stays at the peak and falls linearly during `decay`; `cosine` and
            `exponential` fall throughout.
        decay: share of the training during which a `stable` rate falls.
        warm_up: steps of linear warm-up.
        momentum: momentum of SGD.
        weight_decay: weight decay of all optimizers.
        clip: limit of the gradient norm.
        average: decay of the moving average of the weights, which is what is published.
        bf16: run the networks in bfloat16; weights stay float32.
        compile: compile the networks (a minute at the start, a quarter faster after).
        save_every: steps between checkpoints.
        save_minutes: minutes between checkpoints, if `save_every` takes longer; None for no
            limit.
        seed: seed of shuffling, augmentation and initial weights.
    """

    samples: PositiveInt
    minutes: PositiveFloat | None = None
    batch: PositiveInt
    optimizer: Literal["muon", "adamw", "sgd"]
    peak_rate: PositiveFloat
    final_rate: float = Field(ge=0)
    curve: Literal["stable", "cosine", "exponential"]
    decay: float = Share
    warm_up: int = Field(ge=0)
    momentum: float = Share
    weight_decay: float = Field(ge=0)
    clip: PositiveFloat
    average: float = Share
    bf16: bool
    compile: bool
    save_every: PositiveInt
    save_minutes: PositiveFloat | None = None
    seed: int

    @property
    def steps(self) -> int:
        """Total optimizer steps."""
        return -(-self.samples // self.batch)


class StageRecipe(Recipe):
    """What the recipes of the stages with a teacher have in common.

    Attributes:
        views: origin of views and targets.
        uses: how often a live view is used, on average, each time degraded anew. The teachers see
            it once.
        schedule: see `Schedule`.
    """

    views: ViewSource = "cached"
    uses: PositiveInt = 1
    schedule: Schedule

    @property
    def needs_teacher(self) -> bool:
        """Whether training needs the teachers themselves, not only their cached embeddings."""
        return self.views == "live"


R = TypeVar("R", bound=Recipe)


def read_recipe(kind: type[R], path: Path, **changes: dict[str, Any]) -> R:
    """Read and validate a recipe.

    Args:
        kind: expected type of the recipe.
        path: a TOML file.
        changes: values per table that replace those of the file.

    Raises:
        InvalidTraining: the file is missing or not TOML, or a field is missing, unknown or out
            of range; the message names it.
    """
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise InvalidTraining("NO_RECIPE", f"recipe {path} does not exist") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidTraining("RECIPE_UNREADABLE", f"{path}: {error}") from error
    for table, fields in changes.items():
        values[table] = {**values.get(table, {}), **fields}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        wrong = error.errors()[0]
        field = ".".join(str(part) for part in wrong["loc"])
        raise InvalidTraining(
            "RECIPE_INVALID", f"{path}: {field}: {wrong['msg']}; got {wrong['input']!r}"
        ) from error


def recipe_path(profile: str, stage: str) -> Path:
    """Path of a recipe of a built-in profile.

    Raises:
        InvalidTraining: there is no such profile, or it lacks the stage.
    """
    path = RECIPES / profile / f"{stage}.toml"
    if not path.is_file():
        known = sorted(file.parent.name for file in RECIPES.glob(f"*/{stage}.toml"))
        raise InvalidTraining(
            "NO_RECIPE", f"no profile {profile!r} for stage {stage}; known: {', '.join(known)}"
        )
    return path
