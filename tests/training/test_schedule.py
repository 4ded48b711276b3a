"""The learning rate follows the faces seen or the time spent."""

from pathlib import Path
from typing import Literal

import pytest
import torch

from shared.training.extractor import ExtractorRecipe
from shared.training.optimizers import learning_rate, share_done
from shared.training.recipe import Schedule, read_recipe, recipe_path
from shared.training.run_folder import CHECKPOINT_FILE
from tests.training.invented import run_train


def _schedule(**changes: object) -> Schedule:
    """A hundred steps of ten faces, at a rate of 1 that falls to 0.001."""
    recipe = read_recipe(
        ExtractorRecipe,
        recipe_path("smoke", "extractor"),
        schedule={
            "samples": 1000, "batch": 10, "peak_rate": 1.0, "final_rate": 0.001, "decay": 0.5,
            "warm_up": 10, **changes,
        },
    )  # fmt: skip
    return recipe.schedule


@pytest.mark.parametrize("curve", ["stable", "cosine", "exponential"])
def test_the_rate_has_fallen_when_the_minutes_are_over(
    curve: Literal["stable", "cosine", "exponential"],
) -> None:
    by_time = _schedule(curve=curve, minutes=20, samples=1_000_000_000, warm_up=0)
    by_steps = _schedule(curve=curve, warm_up=0)

    rates = [learning_rate(5, minutes, by_time) for minutes in (0, 5, 10, 15, 20, 21)]

    assert rates[:5] == pytest.approx(
        [learning_rate(step, 1e9, by_steps) for step in (0, 25, 50, 75, 100)], rel=1e-3
    )
    assert rates[4] == rates[5] == pytest.approx(0.001)


def test_minutes_end_what_faces_do_not_and_the_other_way_round() -> None:
    schedule = _schedule(minutes=20)

    assert share_done(0, 10, schedule) == 0.5
    assert share_done(80, 10, schedule) == 0.8
    assert share_done(100, 0, schedule) == share_done(0, 20, schedule) == 1


def test_warm_up_takes_steps_whatever_time_it_is() -> None:
    assert learning_rate(4, 19, _schedule(minutes=20)) == pytest.approx(0.5)


def test_a_run_ends_with_its_minutes_and_goes_on_when_it_gets_more(
    cache: Path, tmp_path: Path
) -> None:
    text = recipe_path("smoke", "extractor").read_text()
    steps = []
    for minutes in (0.001, 0.001, 1000):
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(text.replace("batch = 8", f"batch = 8\nminutes = {minutes}"))
        run_train(
            "extractor", "--recipe", recipe, "--cache", cache, "--out", tmp_path / "run",
            "--samples", 8 * 8,
        )  # fmt: skip
        saved = torch.load(tmp_path / "run" / CHECKPOINT_FILE, weights_only=True)
        steps.append(saved["step"])
        assert saved["minutes"] > 0.001

    assert 1 <= steps[0] == steps[1] < steps[2] == 8
