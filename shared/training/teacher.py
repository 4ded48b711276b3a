"""The teacher's embeddings of all training faces, computed once."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track

from shared.inference.onnx_embedder import OnnxEmbedder
from shared.training.faces import PIXELS_FILE, TEACHER_FILE

_BATCH = 64
# ImageNet's statistics, with which the teacher was trained.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class Teacher:
    """A network of 112x112 pictures that are normalised by ImageNet's statistics."""

    def __init__(self, path: Path, *, threads: int) -> None:
        self._network = OnnxEmbedder(path, threads=threads)

    def embed(self, faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, 112, 112, 3) uint8 RGB -> (N, D) float32 unit vectors."""
        normalised = np.asarray((faces / np.float32(255) - MEAN) / STD, np.float32)
        return self._network.embed(normalised.transpose(0, 3, 1, 2))


def cache_teacher(teacher: Path, cache: Path, *, threads: int) -> None:
    """Embed every cached face, plain and mirrored, into `cache/teacher.npy`."""
    network = Teacher(teacher, threads=threads)
    faces = np.load(cache / PIXELS_FILE, mmap_mode="r")
    embeddings = []
    for start in track(range(0, len(faces), _BATCH), description="teacher"):
        batch = np.asarray(faces[start : start + _BATCH])
        embeddings.append(np.stack([network.embed(batch), network.embed(batch[:, :, ::-1])], 1))
    np.save(cache / TEACHER_FILE, np.concatenate(embeddings))
