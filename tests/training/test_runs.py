"""A run is stopped, goes on, and is shared by several processes."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from typer.testing import CliRunner

from command_line.main import app
from shared.training.recipe import recipe_path
from shared.training.run_folder import CHECKPOINT_FILE
from tests.training.invented import run_train


def test_a_run_that_was_stopped_ends_where_it_would_have_ended(cache: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    # With a rate that never falls, half a run is the first half of a whole one.
    recipe.write_text(
        recipe_path("smoke", "extractor").read_text().replace("decay = 0.8", "decay = 0.0")
    )
    for out, samples in (("whole", 32), ("parts", 16), ("parts", 32)):
        run_train(
            "extractor", "--recipe", recipe, "--cache", cache, "--out", tmp_path / out,
            "--samples", samples,
        )  # fmt: skip

    whole, parts = (
        torch.load(tmp_path / out / CHECKPOINT_FILE, weights_only=True)
        for out in ("whole", "parts")
    )

    assert whole["step"] == parts["step"] == 4
    for name, weight in whole["average"].items():
        torch.testing.assert_close(parts["average"][name], weight)


def test_a_run_goes_on_only_with_the_recipe_it_was_begun_with(
    cache: Path, extractor: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    text = recipe_path("smoke", "extractor").read_text()
    recipe.write_text(text.replace("relation_weight = 8.0", "relation_weight = 4.0"))

    result = CliRunner().invoke(
        app, ["train", "extractor", "--recipe", str(recipe), "--cache", str(cache),
              "--out", str(extractor)]
    )  # fmt: skip

    assert result.exit_code == 1
    assert "recipe.relation_weight = 8.0, not 4.0" in " ".join(result.output.split())


def test_several_processes_train_together(cache: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "command_line", "train", "extractor", "--smoke", "--cache", str(cache),
        "--out", str(tmp_path / "run"),
    ]  # fmt: skip

    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=110)

    assert torch.load(tmp_path / "run" / CHECKPOINT_FILE, weights_only=True)["step"] == 2
