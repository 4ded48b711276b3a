"""Stage 0: train sphere20 by distillation from a teacher and by LMCL.

compactface train extractor
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from shared.errors import InvalidTraining
from shared.models.weights import load_weights
from shared.training.dataset import TrainingData
from shared.training.faces import Faces
from shared.training.heads import fit_heads
from shared.training.live_data import LiveData, embedding_size
from shared.training.loop import Data, train
from shared.training.losses import cosine_loss, relation_loss
from shared.training.optimizers import Group
from shared.training.recipe import StageRecipe
from shared.training.run_folder import CHECKPOINT_FILE, read_run, start_run
from shared.training.split import split_faces
from shared.training.student import Student, load_student
from shared.training.teacher_file import TeacherFile
from shared.training.teacher_module import open_teachers
from shared.training.views import Views


class ExtractorRecipe(StageRecipe):
    """Recipe of stage 0.

    Attributes:
        width: width multiplier of sphere20.
        mirrored: whether the published extractor also embeds the mirror image, at twice the cost.
        mixed: share of a batch that is mixtures of two faces.
        relation_weight: weight of the similarity-matrix loss.
        lmcl_weight: weight of the LMCL loss over the labelled faces of a batch.
        margin: LMCL's m.
    """

    width: PositiveFloat
    mirrored: bool = True
    mixed: float = Field(ge=0, lt=1)
    relation_weight: NonNegativeFloat
    lmcl_weight: NonNegativeFloat
    margin: float = Field(ge=0, lt=1)


class Distillation(nn.Module):
    """A student and its distillation losses."""

    def __init__(self, student: Student, recipe: ExtractorRecipe) -> None:
        super().__init__()
        self.student = student
        self._recipe = recipe

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch: `crops` (N, 3, 112, 96), `target` (N, D), `label` (N,)."""
        embedding = self.student.extractor(batch["crops"])
        with torch.autocast(embedding.device.type, enabled=False):
            return self._losses(embedding.float(), batch["target"], batch["label"])

    def _losses(self, embedding: Tensor, target: Tensor, label: Tensor) -> dict[str, Tensor]:
        distil = cosine_loss(self.student.to_teacher(embedding), target)
        relation = relation_loss(embedding, target)
        lmcl = self.student.lmcl(embedding, label)
        weighted = self._recipe.relation_weight * relation + self._recipe.lmcl_weight * lmcl
        return {"loss": distil + weighted, "distil": distil, "relation": relation, "lmcl": lmcl}


class ExtractorStage:
    """Trains the whole student."""

    def __init__(self, data: Data, network: Distillation) -> None:
        self.data = data
        self.network = network

    def groups(self) -> Sequence[Group]:
        """The student, at the schedule's learning rate."""
        return [Group([self.network])]

    def compilable(self) -> Sequence[nn.Module]:
        """The extractor."""
        return [self.network.student.extractor]


def train_extractor(
    faces: Faces,
    views: Views,
    recipe: ExtractorRecipe,
    out: Path,
    *,
    teachers: Sequence[TeacherFile] = (),
    start: Path | None = None,
) -> None:
    """Train stage 0, resuming from a checkpoint in `out`.

    Args:
        faces: training faces with the teacher's embeddings.
        views: mixtures of faces; unused if the recipe's share of them is 0.
        recipe: the recipe.
        out: run folder.
        teachers: teachers for recipes with live views.
        start: initial weights: run folder of an earlier run on the same faces, or a model's
            `extractor.safetensors`, for which the heads are then fitted; None initializes at
            random.

    Raises:
        InvalidTraining: `out` was started with another recipe, `start` is no such run, or the
            recipe needs a teacher.
    """
    torch.manual_seed(recipe.schedule.seed)
    split = split_faces(faces)
    modules = open_teachers(recipe, teachers)
    student = Student(
        width=recipe.width,
        mirrored=recipe.mirrored,
        teacher_size=embedding_size(modules) if modules else faces.teacher.shape[2],
        classes=split.classes,
        margin=recipe.margin,
    )
    shape: dict[str, Any] = dict(student.shape)
    if start is not None:
        goes_on = (out / CHECKPOINT_FILE).exists()  # the checkpoint holds the heads
        fit = partial(
            fit_heads, faces=faces, split=split, seed=recipe.schedule.seed, teachers=modules
        )
        shape["start"] = _load_initial_weights(student, start, None if goes_on else fit)
    start_run(out, recipe, shape)
    data: Data = (
        LiveData(faces, split, modules, mixed=recipe.mixed, uses=recipe.uses)
        if modules
        else TrainingData(faces, views, split, mixed=recipe.mixed)
    )
    train(ExtractorStage(data, Distillation(student, recipe)), recipe.schedule, out)


def _load_initial_weights(
    student: Student, start: Path, fit: Callable[[Student], None] | None
) -> dict[str, Any]:
    """Load initial weights, fit heads where the file has none; returns their origin."""
    if start.is_dir():
        earlier = load_student(start)
        if earlier.shape != student.shape:
            raise InvalidTraining(
                "OTHER_SHAPE", f"{start} has a student of {earlier.shape}; needed: {student.shape}"
            )
        student.load_state_dict(earlier.state_dict())
        return read_run(start)
    content = start.read_bytes()
    load_weights(student.extractor, content)
    student.extractor.requires_grad_(True).train()
    if fit is not None:
        fit(student)
    return {"extractor_sha256": hashlib.sha256(content).hexdigest()}
