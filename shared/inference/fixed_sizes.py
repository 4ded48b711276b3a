"""Networks that run at a few batch sizes only, as CUDA graphs: one launch instead of two hundred.

On a GPU the launches of a small network's layers take longer than the layers. A graph records them
once, for one batch size and at fixed addresses.
"""

import logging
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TypeAlias

import torch
from torch import Tensor, nn

SIZES = (1, 2, 4, 8, 16, 32, 64)

_WARM_UP = 3  # as torch asks for, before a capture

Run: TypeAlias = Callable[[Tensor], Tensor]
"""Runs a network on a batch."""

_log = logging.getLogger(__name__)


class FixedSizes:
    """Runs batches at the next larger of `SIZES`; thread-safe."""

    def __init__(self, prepare: Callable[[int], Run]) -> None:
        """Prepare nothing yet.

        Args:
            prepare: called once per size; returns what runs batches of at most that size.
        """
        self._prepare = prepare
        self._runs: dict[int, Run] = {}
        self._lock = Lock()

    def __call__(self, batch: Tensor) -> Tensor:
        """Run a batch of any size."""
        if len(batch) > SIZES[-1]:
            return torch.cat([self(part) for part in torch.split(batch, SIZES[-1])])
        size = next(size for size in SIZES if size >= len(batch))
        with self._lock:  # a graph has one input and one output
            if size not in self._runs:
                self._runs[size] = self._prepare(size)
            return self._runs[size](batch)


def as_cuda_graphs(network: nn.Module, shape: Sequence[int]) -> FixedSizes:
    """A network on a GPU as one CUDA graph per batch size.

    Args:
        network: in eval mode, placed and of its final type.
        shape: (C, H, W) of its input.
    """

    def prepare(size: int) -> Run:
        try:
            return _captured(network, (size, *shape))
        except RuntimeError as error:
            _log.warning("no CUDA graph for batches of %d: %s", size, error)
            return network

    return FixedSizes(prepare)


@torch.inference_mode()
def _captured(network: nn.Module, shape: tuple[int, ...]) -> Run:
    weights = next(network.parameters())
    given = torch.zeros(shape, dtype=weights.dtype, device=weights.device)
    given = given.contiguous(memory_format=torch.channels_last)
    with torch.cuda.device(weights.device):
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                network(given)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            found: Tensor = network(given)

    def run(batch: Tensor) -> Tensor:
        given[: len(batch)].copy_(batch)
        graph.replay()
        return found[: len(batch)].clone()

    return run
