"""Compute the teachers' embeddings of all training faces once."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track

from shared.inference.onnx_embedder import OnnxEmbedder
from shared.training.faces import PIXELS_FILE, TEACHER_FILE
from shared.training.teacher_file import NORMALISATIONS, TeacherFile

_BATCH = 32


class Teacher:
    """One face network, or several whose unit embeddings are concatenated.

    The cosine of two concatenated embeddings is the mean of the networks' cosines.
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
