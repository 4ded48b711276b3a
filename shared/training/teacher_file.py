"""Teacher networks and their input normalisation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from shared.errors import InvalidTraining

# ImageNet's statistics of pixels in [0, 1], per colour.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
NORMALISATIONS: dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = {
    "imagenet": (255 * MEAN, 255 * STD),
    "symmetric": (np.full(3, 127.5, np.float32), np.full(3, 127.5, np.float32)),
    "raw": (np.zeros(3, np.float32), np.ones(3, np.float32)),
}
"""(mean, scale) of a teacher's input: (pixel - mean) / scale, for RGB pixels in 0..255."""


@dataclass(frozen=True, slots=True)
class TeacherFile:
    """A face network for 112x112 images in an ONNX file.

    Attributes:
        path: path of the file.
        normalisation: a key of `NORMALISATIONS`.
    """

    path: Path
    normalisation: str = "imagenet"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `FILE` or `FILE@NORMALISATION`.

        Raises:
            InvalidTraining: the file or the normalisation does not exist.
        """
        name, at, normalisation = text.rpartition("@")
        teacher = cls(Path(name), normalisation) if at else cls(Path(text))
        if teacher.normalisation not in NORMALISATIONS:
            raise InvalidTraining(
                "TEACHER_NORMALISATION",
                f"normalisation {teacher.normalisation!r}; known: {', '.join(NORMALISATIONS)}",
            )
        if not teacher.path.is_file():
            raise InvalidTraining("NO_TEACHER", f"teacher {teacher.path} does not exist")
        return teacher
