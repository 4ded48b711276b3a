"""The table of what helped."""

import json
import subprocess
import sys
import time
from pathlib import Path

from shared.training.recipe import recipe_path
from shared.training.run_folder import CHECKPOINT_FILE
from tests.training.invented import run_train


def test_the_ablation_tabulates_one_change_at_a_time(
    cache: Path, extractor: Path, tmp_path: Path
) -> None:
    run_train(
        "ablation", "--smoke", "--cache", cache, "--extractor", extractor,
        "--teacher", cache.parent / "teacher.onnx", "--out", tmp_path / "runs",
        "--report", tmp_path,
    )  # fmt: skip

    first, second = json.loads((tmp_path / "ablation.json").read_text())
    assert (first["says"], second["says"]) == ("as it is", "no pixel loss")
    assert max(first["bytes_mean"], second["bytes_mean"]) <= 347
    for outcome in (first, second):
        assert 0.4 < outcome["before_reference"] <= 1
    without = json.loads((tmp_path / "runs" / "no-pixels" / "recipe.json").read_text())
    assert without["recipe"]["pixel_weight"] == 0
    rows = (tmp_path / "ablation.md").read_text().splitlines()[-2:]
    assert [row.split(" | ")[0] for row in rows] == ["| as it is", "| no pixel loss"]


def test_an_ablation_that_is_stopped_judges_nothing_half_trained(
    cache: Path, extractor: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        recipe_path("smoke", "ablation").read_text().replace("samples = 16", "samples = 1_000_000")
    )
    ablation = subprocess.Popen(
        [
            sys.executable, "-m", "command_line", "train", "ablation",
            "--recipe", recipe, "--cache", cache, "--extractor", extractor,
            "--teacher", cache.parent / "teacher.onnx", "--out", tmp_path / "runs",
            "--report", tmp_path,
        ],
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        run = tmp_path / "runs" / "reference"
        while not (run / CHECKPOINT_FILE).exists():
            assert ablation.poll() is None
            time.sleep(0.1)
        ablation.terminate()
        _, said = ablation.communicate(timeout=60)
    finally:
        ablation.kill()

    assert ablation.returncode == 1
    assert "TRAINING_STOPPED: stopped after step" in said
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["reference"]
    assert not (run / "outcome.json").exists()
