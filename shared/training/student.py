"""The extractor during training: our sphere20 with its heads, or a frozen imported network."""

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
    """Sphere20 with the two heads that only training uses.

    Attributes:
        shape: arguments to build an equal student.
        teacher_size: size of the teacher's embedding.
    """

    def __init__(
        self,
        *,
        width: float,
        teacher_size: int,
        classes: int,
        margin: float,
        mirrored: bool = True,
    ) -> None:
        super().__init__()
        self.shape: dict[str, Any] = {
            "width": width,
            "mirrored": mirrored,
            "teacher_size": teacher_size,
            "classes": classes,
            "margin": margin,
        }
        self.teacher_size = teacher_size
        self.extractor = Sphere20(width=width)
        self.to_teacher = nn.Linear(EMBEDDING_SIZE, teacher_size, bias=False)
        self.lmcl = LargeMarginCosineLoss(classes=classes, size=EMBEDDING_SIZE, margin=margin)

    def compilable(self) -> Sequence[nn.Module]:
        """Modules that are worth compiling."""
        return [self.extractor]


class ImportedExtractor(nn.Module):
    """An imported network in place of the student: frozen, and its own teacher.

    It has nothing to train or save; the run folder holds a copy of its file.
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
        self._network = (TeacherModule(file),)  # in a tuple, so that it is not a submodule

    def extractor(self, crops: Tensor) -> Tensor:
        """(N, 3, 112, 96) in [-1, 1] -> (N, D)."""
        (network,) = self._network
        return network.to(crops.device)(crops).embedding  # type: ignore[no-any-return]

    def to_teacher(self, embedding: Tensor) -> Tensor:
        """The embedding itself, since this network is the teacher."""
        return embedding

    def lmcl(self, embedding: Tensor, label: Tensor) -> Tensor:  # noqa: ARG002 - as a student's
        """Zero: there are no classes."""
        return embedding.new_zeros(())

    def compilable(self) -> Sequence[nn.Module]:
        """None: compiled, thin layers are slower."""
        return []

    @torch.no_grad()
    def check_is_teacher(self, faces: Faces) -> None:
        """Check that this network made the embeddings in the cache.

        Raises:
            InvalidTraining: another network, or several, made them.
        """
        pixels = torch.from_numpy(np.array(faces.pixels[:_ASKED]))
        crops = cut_crops(to_tensor(pixels, torch.zeros(len(pixels), dtype=torch.bool)))
        cached = torch.from_numpy(faces.teacher[:_ASKED, 0])
        embeddings = self.extractor(crops)
        if embeddings.shape == cached.shape:
            agreement = float(functional.cosine_similarity(embeddings, cached).mean())
            if agreement > _AGREEMENT:
                return
        raise InvalidTraining(
            "OTHER_TEACHER",
            f"the cache was not made with {self.file.path.name}; "
            "run `train cache` and `train views` with it as the only --teacher",
        )

    def copy_into(self, run: Path) -> None:
        """Copy the file into a run folder, for readers of the run."""
        run.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.file.path, run / OnnxConfig.file)


AnyStudent = Student | ImportedExtractor


def make_student(shape: dict[str, Any], run: Path) -> AnyStudent:
    """Build the student that a run describes; the checkpoint holds its weights."""
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
