"""What every training stage shares: batches, schedule, averaged weights, checkpoints."""

import copy
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CONFIG_FILE, CHECKPOINT_FILE = "config.json", "last.pt"


def learning_rate(step: int, *, steps: int, warm_up: int, peak: float) -> float:
    """Linear warm-up, then a cosine down to a hundredth of `peak`."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def batches(rows: np.ndarray, *, size: int, seed: int, start: int) -> Iterator[np.ndarray]:
    """Endless shuffled batches; batch `start` is the same however training was resumed."""
    per_epoch = len(rows) // size
    step = start
    while True:
        epoch, offset = divmod(step, per_epoch)
        order = np.random.default_rng((seed, epoch)).permutation(len(rows))
        for batch in range(offset, per_epoch):
            yield np.sort(rows[order[batch * size : (batch + 1) * size]])
            step += 1


class Average:
    """Exponential moving average of a module's parameters (decay warms up with the steps)."""

    def __init__(self, module: nn.Module, *, decay: float = 0.999) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards `module`, quickly at first."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, current in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(current, 1 - decay)


def save_checkpoint(path: Path, **state: Any) -> None:
    """Write a checkpoint beside `path` and rename it into place."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def write_config(out: Path, config: Any, student: Mapping[str, float]) -> None:
    """Record what a run was told, and the shape of its student: together they rebuild it."""
    values = {**asdict(config), "student": dict(student)}
    (out / CONFIG_FILE).write_text(json.dumps(values, indent=2))


def cosine_loss(embedding: Tensor, target: Tensor) -> Tensor:
    """Mean of 1 - cos over the batch; (N, D) each, `target` of unit length."""
    return 1 - (nn.functional.normalize(embedding) * target).sum(1).mean()


def relation_loss(embedding: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of the batch's two cosine matrices, off the diagonal.

    It lets a 512-d student learn the geometry of a 128-d teacher without a head between.
    """
    unit = nn.functional.normalize(embedding)
    difference = (unit @ unit.T - target @ target.T).square()
    n = len(embedding)
    return (difference.sum() - difference.diagonal().sum()) / (n * (n - 1))
