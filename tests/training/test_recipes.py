"""Recipes that are wrong are refused by the name of the field."""

from pathlib import Path

import pytest

from shared.errors import InvalidTraining
from shared.training.codec_recipe import CodecRecipe
from shared.training.extractor import ExtractorRecipe
from shared.training.recipe import read_recipe, recipe_path


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("margin = 0.35", "margin = 1.35"), "margin: .*less than 1; got 1.35"),
        (("margin = 0.35", "marge = 0.35"), "margin: Field required"),
        (("seed = 1", "seed = 1\nsed = 2"), "schedule.sed: Extra inputs are not permitted"),
        (("[schedule]", "[schedule"), "recipe.toml: "),
    ],
)
def test_a_recipe_that_is_wrong_is_refused_by_the_name_of_the_field(
    change: tuple[str, str], complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_path("default", "extractor").read_text().replace(*change))

    with pytest.raises(InvalidTraining, match=complaint):
        read_recipe(ExtractorRecipe, path)


def test_the_papers_networks_send_whole_maps(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    text = recipe_path("smoke", "codec").read_text()
    path.write_text(text.replace("face_width = 0.125", ""))

    with pytest.raises(InvalidTraining, match="RecNet needs the whole map"):
        read_recipe(CodecRecipe, path)


def test_a_profile_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(
        InvalidTraining, match="known: accelerator, default, paper, paper-cpu, smoke"
    ):
        recipe_path("fast", "codec")
