"""A run folder: recipe, checkpoint and TensorBoard log."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared.errors import InvalidTraining
from shared.training.recipe import Recipe

RECIPE_FILE, CHECKPOINT_FILE, LOG_FOLDER = "recipe.json", "last.pt", "tensorboard"
_MAY_CHANGE = ("samples", "minutes", "save_every", "save_minutes")


class Average:
    """Exponential moving average of a network's parameters, with a decay that warms up."""

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards `network`; faster at the start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(averages, list(network.parameters()), 1 - decay)


def start_run(folder: Path, recipe: Recipe, shape: dict[str, Any]) -> None:
    """Record a run's recipe, or check that a resumed run has the same one.

    Args:
        folder: run folder, created if missing.
        recipe: recipe of the stage.
        shape: what else is needed to rebuild the networks.

    Raises:
        InvalidTraining: the run was started with another recipe. Only its length may change.
    """
    record_settings(folder, {"recipe": recipe.model_dump(mode="json"), "shape": shape})


def record_settings(folder: Path, now: dict[str, Any]) -> None:
    """Record a run's settings for `read_run`, or check that they are unchanged.

    Raises:
        InvalidTraining: as `start_run`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECIPE_FILE
    if path.exists() and (folder / CHECKPOINT_FILE).exists():
        was = json.loads(path.read_text())
        for field, old, new in _differences(was, now):
            if field.rsplit(".", 1)[-1] not in _MAY_CHANGE:
                raise InvalidTraining(
                    "RECIPE_CHANGED",
                    f"{folder} was started with {field} = {old!r}, not {new!r}; "
                    "choose another folder",
                )
    path.write_text(json.dumps(now, indent=2))


def _differences(was: Any, now: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(was, dict) and isinstance(now, dict):
        keys = sorted(was.keys() | now.keys())
        return [
            found
            for key in keys
            for found in _differences(was.get(key), now.get(key), f"{path}.{key}".strip("."))
        ]
    return [] if was == now else [(path, was, now)]


def read_run(folder: Path) -> dict[str, Any]:
    """Read a run's settings: {"recipe": ..., "shape": ...}.

    Raises:
        InvalidTraining: the folder holds no run.
    """
    try:
        settings: dict[str, Any] = json.loads((folder / RECIPE_FILE).read_text())
    except FileNotFoundError as error:
        raise InvalidTraining("NO_RUN", f"{folder} holds no training run") from error
    return settings


def save_checkpoint(
    folder: Path,
    *,
    step: int,
    minutes: float,
    network: nn.Module,
    average: Average,
    optimizers: Sequence[torch.optim.Optimizer],
) -> None:
    """Write everything that is needed to resume."""
    state = {
        "step": step,
        "minutes": minutes,
        "network": network.state_dict(),
        "average": average.network.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    put_checkpoint(folder, state)


def restore_checkpoint(
    folder: Path,
    *,
    network: nn.Module,
    average: Average,
    optimizers: Sequence[torch.optim.Optimizer],
) -> tuple[int, float]:
    """Resume from the folder's checkpoint.

    A checkpoint with averaged weights only (see `shared.training.pieces`) resumes from those with
    fresh optimizers.

    Returns:
        Steps done and minutes taken; 0 without a checkpoint.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return 0, 0.0
    saved = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(saved.get("network", saved["average"]))
    average.network.load_state_dict(saved["average"])
    if "optimizers" in saved:
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
    # Older checkpoints have no minutes.
    return saved["step"], saved.get("minutes", 0.0)


def write_run(folder: Path, settings: dict[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write a finished run with only what later stages and models need.

    Args:
        folder: run folder, created if missing.
        settings: {"recipe": ..., "shape": ...} and the origin, for `read_run`.
        weights: the weights, for `averaged_weights`.

    Raises:
        InvalidTraining: the folder already holds a run.
    """
    if (folder / CHECKPOINT_FILE).exists():
        raise InvalidTraining("RUN_EXISTS", f"{folder} holds a run already; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECIPE_FILE).write_text(json.dumps(settings, indent=2))
    put_checkpoint(folder, {"average": dict(weights)})


def put_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    partial = folder / f"{CHECKPOINT_FILE}.partial"
    torch.save(state, partial)
    partial.replace(folder / CHECKPOINT_FILE)


def averaged_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a run, which later stages and models use.

    Raises:
        InvalidTraining: the run has no checkpoint yet.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        raise InvalidTraining("NO_CHECKPOINT", f"{folder} has no checkpoint yet")
    weights: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)[
        "average"
    ]
    return weights
