"""One process, or several that `torchrun` has started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True, slots=True)
class Process:
    """This process among its fellows.

    Attributes:
        rank: 0 for the one that logs and saves.
        count: how many train together.
        device: where its networks live.
    """

    rank: int
    count: int
    device: torch.device


def of_the_first(value: float, process: Process) -> float:
    """What the first process says, so that all of them decide alike."""
    if process.count == 1:
        return value
    told = torch.tensor(value, dtype=torch.float64, device=process.device)
    distributed.broadcast(told, 0)
    return float(told)


@contextmanager
def joined() -> Iterator[Process]:
    """Join the other processes, if `torchrun` has started any; leave them at the end."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if count == 1:
        yield Process(rank, count, device)
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Process(rank, count, device)
    finally:
        distributed.destroy_process_group()
