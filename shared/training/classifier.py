"""Stage 2: train the classifier's weights on the frozen extractor (paper, section 2.3).

compactface train classifier
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from shared.training.dataset import TrainingData
from shared.training.faces import Faces
from shared.training.loop import train
from shared.training.optimizers import Group
from shared.training.recipe import Recipe, Schedule
from shared.training.run_folder import start_run
from shared.training.split import split_faces
from shared.training.student import Student, load_student
from shared.training.views import NO_VIEWS


class ClassifierRecipe(Recipe):
    """Recipe of stage 2.

    Attributes:
        schedule: see `Schedule`.
    """

    schedule: Schedule


class Classification(nn.Module):
    """A student and its classification loss on the training identities."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student
        student.requires_grad_(False)
        student.lmcl.requires_grad_(True)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch: `crops` (N, 3, 112, 96) and `label` (N,)."""
        with torch.no_grad():
            embedding = self.student.extractor(batch["crops"])
        with torch.autocast(embedding.device.type, enabled=False):
            return {"loss": self.student.lmcl(embedding.float(), batch["label"])}


class ClassifierStage:
    """Trains only the weights of LMCL."""

    def __init__(self, data: TrainingData, network: Classification) -> None:
        self.data = data
        self.network = network

    def groups(self) -> Sequence[Group]:
        """LMCL's weights."""
        return [Group([self.network.student.lmcl])]

    def compilable(self) -> Sequence[nn.Module]:
        """The extractor."""
        return [self.network.student.extractor]


def train_classifier(faces: Faces, recipe: ClassifierRecipe, out: Path, *, extractor: Path) -> None:
    """Train stage 2, resuming from a checkpoint in `out`.

    Args:
        faces: training faces.
        recipe: the recipe.
        out: run folder; it can replace that of stage 0 in later stages.
        extractor: run folder of stage 0.

    Raises:
        InvalidTraining: `out` was started with another recipe, or `extractor` is no such run.
    """
    torch.manual_seed(recipe.schedule.seed)
    student = load_student(extractor)
    start_run(out, recipe, student.shape)
    data = TrainingData(faces, NO_VIEWS, split_faces(faces), mixed=0, kind="labelled")
    train(ClassifierStage(data, Classification(student)), recipe.schedule, out)
