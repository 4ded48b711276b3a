"""Recipes: what a stage is told, read from a TOML file with a comment per field."""

import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from shared.errors import InvalidTraining

RECIPES = Path(__file__).parent / "recipes"
"""One folder per profile, in it one file per stage."""

Share = Field(ge=0, le=1)


class Recipe(BaseModel):
    """A part of a recipe: unknown fields are refused, since a typo would train for days."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(Recipe):
    """How long, in what steps, and with which optimizer a stage trains.

    Attributes:
        samples: faces seen in all.
        minutes: of training, all sittings together, after which it ends even if fewer faces were
            seen; the learning rate has then fallen. None for as long as it takes.
        batch: faces a step, over all processes.
        optimizer: `muon` moves the filters of convolutions, and AdamW the rest.
        peak_rate: learning rate after warm-up.
        final_rate: learning rate at the end.
        curve: `stable` stays at the peak and falls linearly during `decay`; `cosine` and
            `exponential` fall all the time.
        decay: share of the training during which a `stable` rate falls.
        warm_up: steps of linear warm-up.
        momentum: of SGD.
        weight_decay: of all optimizers.
        clip: largest norm of the gradient.
        average: decay of the moving average of the weights, which is what is published.
        bf16: run the networks in bfloat16, where weights stay float32.
        compile: compile the networks (a minute at the start, a quarter faster after).
        save_every: steps between checkpoints.
        save_minutes: minutes between checkpoints, if those steps take longer; None for any.
        seed: of shuffling, augmentation and initial weights.
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
        """Optimizer steps in all."""
        return -(-self.samples // self.batch)


R = TypeVar("R", bound=Recipe)


def read_recipe(kind: type[R], path: Path, **changes: dict[str, Any]) -> R:
    """Read and check a recipe.

    Args:
        kind: what the file must hold.
        path: a TOML file.
        changes: per table, values that take the place of the file's.

    Raises:
        InvalidTraining: no such file, not TOML, or a field that is missing, unknown or out of
            range; the message names it.
    """
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise InvalidTraining("NO_RECIPE", f"there is no recipe {path}") from error
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
    """Where the recipe of a built-in profile lies.

    Raises:
        InvalidTraining: there is no such profile, or it has no such stage.
    """
    path = RECIPES / profile / f"{stage}.toml"
    if not path.is_file():
        known = sorted(file.parent.name for file in RECIPES.glob(f"*/{stage}.toml"))
        raise InvalidTraining(
            "NO_RECIPE", f"no profile {profile!r} for stage {stage}; known: {', '.join(known)}"
        )
    return path
