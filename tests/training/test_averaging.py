"""The mean of several runs."""

from pathlib import Path

import pytest
import torch

from shared.errors import InvalidTraining
from shared.training.averaging import average_runs
from shared.training.run_folder import averaged_weights, read_run
from shared.training.student import load_student
from tests.training.invented import run_train


@pytest.fixture(scope="module")
def later(cache: Path, extractor: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that went on from `extractor`."""
    out = tmp_path_factory.mktemp("soup") / "later"
    run_train("extractor", "--smoke", "--cache", cache, "--start", extractor, "--out", out)
    return out


def test_the_mean_of_two_runs_lies_half_way_and_tells_of_both(
    extractor: Path, later: Path, tmp_path: Path
) -> None:
    run_train("average", extractor, later, "--out", tmp_path / "mean")

    first, second, mean = map(averaged_weights, (extractor, later, tmp_path / "mean"))
    for name, weight in mean.items():
        torch.testing.assert_close(weight, (first[name] + second[name]) / 2)
    assert load_student(tmp_path / "mean").shape == load_student(later).shape
    assert read_run(tmp_path / "mean")["mean_of"] == ["extractor", "later"]


def test_networks_of_different_shapes_have_no_mean(
    cache: Path, extractor: Path, tmp_path: Path
) -> None:
    run_train("codec", "--smoke", "--cache", cache, "--extractor", extractor,
              "--teacher", cache.parent / "teacher.onnx", "--out", tmp_path / "codec")  # fmt: skip

    with pytest.raises(InvalidTraining, match=f"{extractor} has other networks than"):
        average_runs([extractor, tmp_path / "codec"], tmp_path / "mean")

    assert not (tmp_path / "mean").exists()


def test_no_mean_is_written_over_a_run(extractor: Path, later: Path) -> None:
    before = averaged_weights(later)

    with pytest.raises(InvalidTraining, match="holds a run already"):
        average_runs([extractor, later], later)

    assert all(torch.equal(before[n], w) for n, w in averaged_weights(later).items())
