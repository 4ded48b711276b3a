"""The teachers' embeddings of all training faces, computed once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from rich.progress import track

from shared.errors import InvalidTraining
from shared.inference.onnx_embedder import OnnxEmbedder
from shared.training.faces import PIXELS_FILE, TEACHER_FILE

_BATCH = 32
# ImageNet's statistics of pixels in [0, 1], per colour.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
NORMALISATIONS: dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = {
    "imagenet": (255 * MEAN, 255 * STD),
    "symmetric": (np.full(3, 127.5, np.float32), np.full(3, 127.5, np.float32)),
    "raw": (np.zeros(3, np.float32), np.ones(3, np.float32)),
}
"""What a teacher's input is made of: (pixel - mean) / scale, pixels being 0..255 RGB."""


@dataclass(frozen=True, slots=True)
class TeacherFile:
    """A face network of 112x112 pictures in an ONNX file.

    Attributes:
        path: of the file.
        normalisation: one of `NORMALISATIONS`.
    """

    path: Path
    normalisation: str = "imagenet"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `FILE` or `FILE@NORMALISATION`.

        Raises:
            InvalidTraining: no such file, or no such normalisation.
        """
        name, at, normalisation = text.rpartition("@")
        teacher = cls(Path(name), normalisation) if at else cls(Path(text))
        if teacher.normalisation not in NORMALISATIONS:
            raise InvalidTraining(
                "TEACHER_NORMALISATION",
                f"normalisation {teacher.normalisation!r}; known: {', '.join(NORMALISATIONS)}",
            )
        if not teacher.path.is_file():
            raise InvalidTraining("NO_TEACHER", f"there is no teacher {teacher.path}")
        return teacher


class Teacher:
    """One face network, or several whose unit embeddings are put side by side.

    The cosine of two such embeddings is the mean of the networks' cosines.
    """

    def __init__(self, *files: TeacherFile, threads: int) -> None:
        self._networks = [
            (OnnxEmbedder(file.path, threads=threads), *NORMALISATIONS[file.normalisation])
            for file in files
        ]

    def embed(self, faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, 112, 112, 3) uint8 RGB -> (N, D) float32 unit vectors."""
        answers = [
            network.embed(np.asarray((faces - mean) / scale, np.float32).transpose(0, 3, 1, 2))
            for network, mean, scale in self._networks
        ]
        unit: npt.NDArray[np.float32] = np.concatenate(answers, 1) / np.sqrt(
            np.float32(len(answers))
        )
        return unit


def cache_teacher(teacher: Teacher, cache: Path) -> None:
    """Embed every cached face, plain and mirrored, into `cache/teacher.npy`."""
    faces = np.load(cache / PIXELS_FILE, mmap_mode="r")
    embeddings = []
    for start in track(range(0, len(faces), _BATCH), description="teacher"):
        batch = np.asarray(faces[start : start + _BATCH])
        embeddings.append(np.stack([teacher.embed(batch), teacher.embed(batch[:, :, ::-1])], 1))
    np.save(cache / TEACHER_FILE, np.concatenate(embeddings))
