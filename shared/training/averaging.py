"""Average the weights of several runs, which is often better than each of them.

The runs must continue one another or share a start: the loss stays low between their weights and
is flatter in the middle (model soups, Wortsman et al. 2022, arXiv:2203.05482).

compactface train average
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from shared.errors import InvalidTraining
from shared.training.run_folder import averaged_weights, read_run, write_run


def average_runs(runs: Sequence[Path], out: Path) -> None:
    """Write a run folder that can be published or be the start of another run, but not resumed.

    Args:
        runs: run folders of one stage; repeat a run to double its weight. The average gets the
            recipe of the last.
        out: folder of the average.

    Raises:
        InvalidTraining: a folder holds no run, the networks differ in shape, or `out` already
            holds a run.
    """
    weights = [averaged_weights(run) for run in runs]
    for run, other in zip(runs, weights, strict=True):
        if _shapes(other) != _shapes(weights[-1]):
            raise InvalidTraining(
                "OTHER_NETWORKS", f"{run} has other networks than {runs[-1]}; cannot average"
            )
    mean = {name: torch.stack([one[name] for one in weights]).mean(0) for name in weights[-1]}
    write_run(out, {**read_run(runs[-1]), "mean_of": [run.name for run in runs]}, mean)


def _shapes(weights: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}
