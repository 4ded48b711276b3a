"""Fit the heads of a student to an existing extractor."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from shared.training.augment import cut_crops
from shared.training.faces import Faces, to_tensor
from shared.training.live_data import embed
from shared.training.split import NOBODY, Split
from shared.training.student import Student
from shared.training.teacher_module import TeacherModule

_BATCH = 64
_NOBODIES = 6000
"""Faces of unknown people used in the fit besides those of known people."""
_ASKED = 12_000
"""Faces of which the teachers are asked, if their embeddings are not cached."""
_RIDGE = 2e-5  # per face


@torch.no_grad()
def fit_heads(
    student: Student,
    faces: Faces,
    split: Split,
    *,
    seed: int,
    teachers: Sequence[TeacherModule] = (),
) -> None:
    """Fit both heads to the extractor.

    The head to the teacher's space is a ridge regression; LMCL's weight of a class is the mean
    embedding of its faces.

    Args:
        student: its heads are replaced.
        faces: training faces with the teacher's embeddings.
        split: the training rows and their labels.
        seed: seed of the choice of faces.
        teachers: networks to ask for embeddings; without any, the cached ones are taken.
    """
    known = split.labels[split.train] != NOBODY
    unknown = split.train[~known]
    drawn = np.random.default_rng(seed).permutation(unknown)[:_NOBODIES]
    rows = np.concatenate([split.train[known], drawn])
    student.eval()
    embeddings = torch.cat(list(_embeddings(student, faces, rows)))
    student.train()

    if teachers:
        some = np.random.default_rng(seed).permutation(len(rows))[:_ASKED]
        seen = embeddings[some]
        targets = torch.cat([embed(teachers, each) for each in _pictures(faces, rows[some])])
    else:
        seen = embeddings
        targets = functional.normalize(torch.from_numpy(faces.teacher[rows].sum(1)))
    ridge = _RIDGE * len(seen) * torch.eye(seen.shape[1])
    student.to_teacher.weight.copy_(torch.linalg.solve(seen.T @ seen + ridge, seen.T @ targets).T)

    labels = torch.from_numpy(split.labels[rows[: known.sum()]])
    sums = torch.zeros_like(student.lmcl.weight).index_add_(0, labels, embeddings[: len(labels)])
    student.lmcl.weight.copy_(functional.normalize(sums))


def _embeddings(student: Student, faces: Faces, rows: npt.NDArray[np.int64]) -> Iterator[Tensor]:
    for pictures in _pictures(faces, rows):
        crops = cut_crops(pictures).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = student.extractor(crops)
        yield functional.normalize(embeddings.float())


def _pictures(faces: Faces, rows: npt.NDArray[np.int64]) -> Iterator[Tensor]:
    for start in range(0, len(rows), _BATCH):
        pixels = torch.from_numpy(faces.pixels[rows[start : start + _BATCH]])
        yield to_tensor(pixels, torch.zeros(len(pixels), dtype=torch.bool))
