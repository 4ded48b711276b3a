"""The stages of training: their recipes and dependencies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.model_directory import Sphere20Config
from shared.training.codec import train_codec
from shared.training.codec_recipe import CodecRecipe
from shared.training.extractor import ExtractorRecipe, train_extractor
from shared.training.faces import Faces
from shared.training.recipe import StageRecipe
from shared.training.teacher_file import TeacherFile
from shared.training.views import Views


@dataclass(frozen=True, slots=True)
class StageInputs:
    """Inputs of a stage.

    Attributes:
        faces: training faces.
        views: mixtures of training faces.
        runs: folder of run folders, each named after its stage.
        teachers: teachers for recipes that need them.
        model: folder of a model version from which stage 0, and without a codec run stage 3, start.
    """

    faces: Faces
    views: Views
    runs: Path
    teachers: Sequence[TeacherFile]
    model: Path | None = None


@dataclass(frozen=True, slots=True)
class NamedStage:
    """A stage.

    Attributes:
        recipe: type of its recipe.
        train: trains by a recipe, into the run folder of the stage's name.
    """

    recipe: type[StageRecipe]
    train: Callable[[StageInputs, Any], None]


def _extractor(inputs: StageInputs, recipe: ExtractorRecipe) -> None:
    train_extractor(
        inputs.faces,
        inputs.views,
        recipe,
        inputs.runs / "extractor",
        teachers=inputs.teachers,
        start=inputs.model and inputs.model / Sphere20Config.file,
    )


def _codec(inputs: StageInputs, recipe: CodecRecipe) -> None:
    _train_codec(inputs, recipe, "codec", start=None)


def _joint(inputs: StageInputs, recipe: CodecRecipe) -> None:
    codec = inputs.runs / "codec"
    _train_codec(inputs, recipe, "joint", start=codec if codec.exists() else inputs.model or codec)


def _train_codec(
    inputs: StageInputs, recipe: CodecRecipe, name: str, *, start: Path | None
) -> None:
    train_codec(
        inputs.faces,
        inputs.views,
        recipe,
        inputs.runs / name,
        extractor=inputs.runs / "extractor",
        teachers=inputs.teachers,
        start=start,
    )


STAGES = {
    "extractor": NamedStage(ExtractorRecipe, _extractor),
    "codec": NamedStage(CodecRecipe, _codec),
    "joint": NamedStage(CodecRecipe, _joint),
}
