"""Optimizers and learning rates of a schedule."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from shared.training.muon import Muon
from shared.training.recipe import Schedule


@dataclass(frozen=True, slots=True)
class Group:
    """Networks that train at `pace` times the schedule's learning rate."""

    networks: Sequence[nn.Module]
    pace: float = 1.0


def make_optimizers(groups: Sequence[Group], schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Build the optimizers of a stage; together they hold every trainable parameter once."""
    filters, others = [], []
    for group in groups:
        layers = [layer for network in group.networks for layer in network.modules()]
        own = {id(layer.weight): layer.weight for layer in layers if _has_filters(layer)}
        every = {id(p): p for network in group.networks for p in network.parameters()}
        rest = [p for key, p in every.items() if key not in own]
        filters.append({"params": [p for p in own.values() if p.requires_grad], "pace": group.pace})
        others.append({"params": [p for p in rest if p.requires_grad], "pace": group.pace})
    decay = schedule.weight_decay
    match schedule.optimizer:
        case "muon":
            return [
                Muon(filters, weight_decay=decay),
                torch.optim.AdamW(others, weight_decay=decay, fused=True),
            ]
        case "adamw":
            return [torch.optim.AdamW(filters + others, weight_decay=decay, fused=True)]
        case "sgd":
            momentum = schedule.momentum
            return [torch.optim.SGD(filters + others, lr=1, momentum=momentum, weight_decay=decay)]


def _has_filters(layer: nn.Module) -> bool:
    """Whether a layer's weight is a stack of filters that Muon can treat as a matrix."""
    return isinstance(layer, nn.Conv2d) and min(layer.weight.flatten(1).shape) >= 16


def set_rates(optimizers: Sequence[torch.optim.Optimizer], rate: float) -> None:
    """Set every parameter group's learning rate to its pace times `rate`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group["pace"]


def share_done(step: int, minutes: float, schedule: Schedule) -> float:
    """The completed share of a training in [0, 1]: of its steps or minutes, whichever is more.

    Args:
        step: steps done.
        minutes: time spent on them.
        schedule: the schedule.
    """
    of_time = 0.0 if schedule.minutes is None else minutes / schedule.minutes
    return min(1.0, max(step / schedule.steps, of_time))


def learning_rate(step: int, minutes: float, schedule: Schedule) -> float:
    """The learning rate of a step (counted from 0) at `minutes` after the start."""
    if step < schedule.warm_up:
        return schedule.peak_rate * (step + 1) / schedule.warm_up
    warm = schedule.warm_up / schedule.steps
    done = max(0.0, share_done(step, minutes, schedule) - warm) / max(1 - warm, 1e-9)
    peak, final = schedule.peak_rate, schedule.final_rate
    match schedule.curve:
        case "stable":
            left = min(1.0, (1 - done) / max(schedule.decay, 1e-9))
            return final + (peak - final) * left
        case "cosine":
            return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * done))
        case "exponential":
            return peak * float((final / peak) ** done)
