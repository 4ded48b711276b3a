"""The stages that lead to a model: what their recipes are, and which they build upon."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.training.codec import train_codec
from shared.training.codec_recipe import CodecRecipe
from shared.training.extractor import ExtractorRecipe, train_extractor
from shared.training.faces import Faces
from shared.training.recipe import Recipe
from shared.training.teacher_file import TeacherFile
from shared.training.views import Views


@dataclass(frozen=True, slots=True)
class Ground:
    """What a stage stands on.

    Attributes:
        faces: training faces.
        views: mixtures of them.
        runs: folder of run folders, each named as its stage.
        teachers: that recipes may ask about reconstructions.
    """

    faces: Faces
    views: Views
    runs: Path
    teachers: Sequence[TeacherFile]


@dataclass(frozen=True, slots=True)
class NamedStage:
    """A stage.

    Attributes:
        recipe: what its recipe file must hold.
        train: trains by such a recipe, into the run folder of the stage's name.
    """

    recipe: type[Recipe]
    train: Callable[[Ground, Any], None]

    def asks_teacher(self, recipe: Recipe) -> bool:
        """Whether a recipe needs the teacher's file."""
        return isinstance(recipe, CodecRecipe) and recipe.asks_teacher


def _extractor(ground: Ground, recipe: ExtractorRecipe) -> None:
    train_extractor(ground.faces, ground.views, recipe, ground.runs / "extractor")


def _codec(ground: Ground, recipe: CodecRecipe) -> None:
    _train_codec(ground, recipe, "codec", start=None)


def _joint(ground: Ground, recipe: CodecRecipe) -> None:
    _train_codec(ground, recipe, "joint", start=ground.runs / "codec")


def _train_codec(ground: Ground, recipe: CodecRecipe, name: str, *, start: Path | None) -> None:
    train_codec(
        ground.faces,
        ground.views,
        recipe,
        ground.runs / name,
        extractor=ground.runs / "extractor",
        teachers=ground.teachers,
        start=start,
    )


STAGES = {
    "extractor": NamedStage(ExtractorRecipe, _extractor),
    "codec": NamedStage(CodecRecipe, _codec),
    "joint": NamedStage(CodecRecipe, _joint),
}
