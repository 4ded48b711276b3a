"""The teacher's embeddings of all training faces, computed once."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from rich.progress import track

from shared.training.faces import PIXELS_FILE, TEACHER_FILE

_BATCH = 64
# ImageNet's statistics, with which the teacher was trained.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)


class Teacher:
    """A network (N, 3, 112, 112) -> N embeddings, from an ONNX file whose batch may be fixed."""

    def __init__(self, path: Path, *, threads: int) -> None:
        model = onnx.load(path)
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "N"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # the file promises one embedding; we know better
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def embed(self, faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, 112, 112, 3) uint8 RGB -> (N, D) float32 unit vectors."""
        batch = ((faces / np.float32(255) - _MEAN) / _STD).transpose(0, 3, 1, 2)
        (raw,) = self._session.run(None, {self._input: np.ascontiguousarray(batch, np.float32)})
        embeddings = np.asarray(raw, np.float32).reshape(len(faces), -1)
        unit: npt.NDArray[np.float32] = embeddings / np.linalg.norm(embeddings, axis=1)[:, None]
        return unit


def cache_teacher(teacher: Path, cache: Path, *, threads: int) -> None:
    """Embed every cached face, plain and mirrored, into `cache/teacher.npy`."""
    network = Teacher(teacher, threads=threads)
    faces = np.load(cache / PIXELS_FILE, mmap_mode="r")
    embeddings = []
    for start in track(range(0, len(faces), _BATCH), description="teacher"):
        batch = np.asarray(faces[start : start + _BATCH])
        embeddings.append(np.stack([network.embed(batch), network.embed(batch[:, :, ::-1])], 1))
    np.save(cache / TEACHER_FILE, np.concatenate(embeddings))
