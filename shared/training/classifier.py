"""Stage 2: the classifier's weights before the frozen extractor (paper, section 2.3).

compactface train classifier
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from shared.training.dataset import Lessons
from shared.training.faces import Faces
from shared.training.loop import train
from shared.training.optimizers import Group
from shared.training.recipe import Recipe, Schedule
from shared.training.run_folder import begin
from shared.training.split import split_faces
from shared.training.student import Student, load_student
from shared.training.views import NO_VIEWS


class ClassifierRecipe(Recipe):
    """How stage 2 trains.

    Attributes:
        schedule: see there.
    """

    schedule: Schedule


class Classification(nn.Module):
    """A student and how well its classifier knows the training identities."""

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
    """LMCL's weights learn, and nothing else."""

    def __init__(self, lessons: Lessons, network: Classification) -> None:
        self.lessons = lessons
        self.network = network

    def groups(self) -> Sequence[Group]:
        """LMCL's weights."""
        return [Group([self.network.student.lmcl])]

    def heavy(self) -> Sequence[nn.Module]:
        """The extractor."""
        return [self.network.student.extractor]


def train_classifier(faces: Faces, recipe: ClassifierRecipe, out: Path, *, extractor: Path) -> None:
    """Train stage 2, going on from `out` if it holds a checkpoint.

    Args:
        faces: training faces.
        recipe: what to do.
        out: folder of the run; it then stands for that of stage 0.
        extractor: folder of the run of stage 0.

    Raises:
        InvalidTraining: `out` was begun with another recipe, or `extractor` is no such run.
    """
    torch.manual_seed(recipe.schedule.seed)
    student = load_student(extractor)
    begin(out, recipe, student.shape)
    lessons = Lessons(faces, NO_VIEWS, split_faces(faces), mixed=0, kind="labelled")
    train(ClassifierStage(lessons, Classification(student)), recipe.schedule, out)
