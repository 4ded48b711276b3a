"""Data-parallel training: one process, or several started by `torchrun`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True, slots=True)
class Process:
    """This process in its group.

    Attributes:
        rank: 0 for the process that logs and saves.
        count: number of processes.
        device: device of its networks.
    """

    rank: int
    count: int
    device: torch.device


def default_device() -> torch.device:
    """This process's GPU, or the CPU without one."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def first_process_value(value: float, process: Process) -> float:
    """The first process's value, so that all processes decide alike."""
    if process.count == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=process.device)
    distributed.broadcast(shared, 0)
    return float(shared)


@contextmanager
def joined() -> Iterator[Process]:
    """Join the process group if `torchrun` started one; leave it at the end."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    device = default_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if count == 1:
        yield Process(rank, count, device)
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Process(rank, count, device)
    finally:
        distributed.destroy_process_group()
