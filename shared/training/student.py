"""What the codecs train before: our extractor with its heads, or a finished one of others."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.errors import InvalidTraining
from shared.model_directory import OnnxConfig
from shared.models.lmcl import LargeMarginCosineLoss
from shared.models.sphere20 import EMBEDDING_SIZE, Sphere20
from shared.training.augment import cut_crops
from shared.training.faces import Faces, to_tensor
from shared.training.run_folder import averaged_weights, read_run
from shared.training.teacher_file import TeacherFile
from shared.training.teacher_module import TeacherModule

_ASKED, _AGREEMENT = 16, 0.7


class Student(nn.Module):
    """Sphere20 with the two heads that only training needs.

    Attributes:
        shape: what it takes to make one like it.
        teacher_size: numbers in an answer to the teacher.
    """

    def __init__(self, *, width: float, teacher_size: int, classes: int, margin: float) -> None:
        super().__init__()
        self.shape: dict[str, Any] = {
            "width": width,
            "teacher_size": teacher_size,
            "classes": classes,
            "margin": margin,
        }
        self.teacher_size = teacher_size
        self.extractor = Sphere20(width=width)
        self.to_teacher = nn.Linear(EMBEDDING_SIZE, teacher_size, bias=False)
        self.lmcl = LargeMarginCosineLoss(classes=classes, size=EMBEDDING_SIZE, margin=margin)

    def heavy(self) -> Sequence[nn.Module]:
        """What is worth compiling."""
        return [self.extractor]


class ImportedExtractor(nn.Module):
    """A network of others in the student's place: frozen, and its own teacher.

    It has nothing to train and nothing to keep, since it is not ours: a run folder holds a copy of
    its file.
    """

    def __init__(self, file: TeacherFile, *, teacher_size: int) -> None:
        super().__init__()
        self.file = file
        self.teacher_size = teacher_size
        self.shape: dict[str, Any] = {
            "normalisation": file.normalisation,
            "sha256": hashlib.sha256(file.path.read_bytes()).hexdigest(),
            "teacher_size": teacher_size,
        }
        self._network = (TeacherModule(file),)  # in a tuple, so that it is no part of ours

    def extractor(self, crops: Tensor) -> Tensor:
        """(N, 3, 112, 96) in [-1, 1] -> (N, D)."""
        (network,) = self._network
        return network.to(crops.device)(crops).embedding  # type: ignore[no-any-return]

    def to_teacher(self, embedding: Tensor) -> Tensor:
        """The same: it is the teacher."""
        return embedding

    def lmcl(self, embedding: Tensor, label: Tensor) -> Tensor:  # noqa: ARG002 - as a student's
        """Nothing: no class of ours was trained before it."""
        return embedding.new_zeros(())

    def heavy(self) -> Sequence[nn.Module]:
        """Nothing is worth compiling: thin layers are faster as they are."""
        return []

    @torch.no_grad()
    def check_it_taught(self, faces: Faces) -> None:
        """Compare its answers with those in the cache, which the codecs are to reach.

        Raises:
            InvalidTraining: another network, or several, gave those.
        """
        pixels = torch.from_numpy(np.array(faces.pixels[:_ASKED]))
        crops = cut_crops(to_tensor(pixels, torch.zeros(len(pixels), dtype=torch.bool)))
        told = torch.from_numpy(faces.teacher[:_ASKED, 0])
        answers = self.extractor(crops)
        if answers.shape == told.shape:
            agreement = float(functional.cosine_similarity(answers, told).mean())
            if agreement > _AGREEMENT:
                return
        raise InvalidTraining(
            "OTHER_TEACHER",
            f"the cache was not made with {self.file.path.name}; "
            "`compactface train cache --teacher` and `train views` have to name it, and it alone",
        )

    def put_into(self, run: Path) -> None:
        """Copy the file into a run folder, for those who read the run."""
        run.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.file.path, run / OnnxConfig.file)


AnyStudent = Student | ImportedExtractor


def make_student(shape: dict[str, Any], run: Path) -> AnyStudent:
    """A student as a run describes it; its weights are in the run's checkpoint."""
    if "normalisation" not in shape:
        return Student(**shape)
    file = TeacherFile(run / OnnxConfig.file, shape["normalisation"])
    return ImportedExtractor(file, teacher_size=shape["teacher_size"])


def load_student(run: Path) -> Student:
    """The averaged student of a run of stage 0."""
    shape = dict(read_run(run)["shape"])
    shape.pop("start", None)
    student = Student(**shape)
    prefix = "student."
    weights = averaged_weights(run)
    student.load_state_dict({name.removeprefix(prefix): w for name, w in weights.items()})
    return student
