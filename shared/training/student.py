"""What stage 0 trains: the extractor, with the heads that only training needs."""

from pathlib import Path

from torch import nn

from shared.models.lmcl import LargeMarginCosineLoss
from shared.models.sphere20 import EMBEDDING_SIZE, Sphere20
from shared.training.run_folder import averaged_weights, read_run


class Student(nn.Module):
    """Sphere20 with the two heads that only training needs."""

    def __init__(self, *, width: float, teacher_size: int, classes: int, margin: float) -> None:
        super().__init__()
        self.shape = {
            "width": width,
            "teacher_size": teacher_size,
            "classes": classes,
            "margin": margin,
        }
        self.extractor = Sphere20(width=width)
        self.to_teacher = nn.Linear(EMBEDDING_SIZE, teacher_size, bias=False)
        self.lmcl = LargeMarginCosineLoss(classes=classes, size=EMBEDDING_SIZE, margin=margin)


def load_student(run: Path) -> Student:
    """The averaged student of a run of stage 0."""
    shape = dict(read_run(run)["shape"])
    shape.pop("start", None)
    student = Student(**shape)
    prefix = "student."
    weights = averaged_weights(run)
    student.load_state_dict({name.removeprefix(prefix): w for name, w in weights.items()})
    return student
