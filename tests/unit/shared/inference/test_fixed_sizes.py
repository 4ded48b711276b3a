"""Networks that run at a few batch sizes; on a machine with a GPU, as CUDA graphs."""

import numpy as np
import pytest
import torch

from shared.inference.device import Precision
from shared.inference.fixed_sizes import FixedSizes, Run
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory


def test_a_batch_runs_at_the_next_size_which_is_prepared_once() -> None:
    prepared: list[int] = []
    ran: list[tuple[int, int]] = []

    def prepare(size: int) -> Run:
        prepared.append(size)

        def run(batch: torch.Tensor) -> torch.Tensor:
            ran.append((size, len(batch)))
            return 2 * batch

        return run

    network = FixedSizes(prepare)
    for count in (1, 3, 4, 64, 70):
        batch = torch.arange(count)
        assert (network(batch) == 2 * batch).all()
    assert prepared == [1, 4, 64, 8]
    assert ran == [(1, 1), (4, 3), (4, 4), (64, 64), (64, 64), (8, 6)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_embeds_as_a_cpu_does(tiny_model: ModelDirectory, precision: Precision) -> None:
    codec = tiny_model.codec(None)
    chance = np.random.default_rng(1)
    maps = [
        (codec.codec_id, chance.integers(0, codec.levels, codec.map_format.shape, np.uint8))
        for _ in range(70)
    ]
    there = MapDecoder(tiny_model, device="cuda", precision=precision)
    here = MapDecoder(tiny_model).embed(maps)
    for count in (1, 5, 70, 5):  # twice, with what an earlier batch left
        cosines = (there.embed(maps[:count]) * here[:count]).sum(1)
        assert cosines.min() > 0.999
