"""Fit the heads of a student to an existing extractor."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from shared.training.augment import cut_crops
from shared.training.faces import Faces, to_tensor
from shared.training.split import NOBODY, Split
from shared.training.student import Student

_BATCH = 64
_NOBODIES = 6000
"""Faces of unknown people used in the fit besides those of known people."""
_RIDGE = 2e-5  # per face


@torch.no_grad()
def fit_heads(student: Student, faces: Faces, split: Split, *, seed: int) -> None:
    """Fit both heads to the extractor.

    The head to the teacher's space is a ridge regression; LMCL's weight of a class is the mean
    embedding of its faces.
    """
    known = split.labels[split.train] != NOBODY
    unknown = split.train[~known]
    drawn = np.random.default_rng(seed).permutation(unknown)[:_NOBODIES]
    rows = np.concatenate([split.train[known], drawn])
    student.eval()
    embeddings = torch.cat(list(_embeddings(student, faces, rows)))
    student.train()

    both = torch.from_numpy(faces.teacher[rows].sum(1))
    ridge = _RIDGE * len(rows) * torch.eye(embeddings.shape[1])
    answers = embeddings.T @ functional.normalize(both)
    student.to_teacher.weight.copy_(
        torch.linalg.solve(embeddings.T @ embeddings + ridge, answers).T
    )

    labels = torch.from_numpy(split.labels[rows[: known.sum()]])
    sums = torch.zeros_like(student.lmcl.weight).index_add_(0, labels, embeddings[: len(labels)])
    student.lmcl.weight.copy_(functional.normalize(sums))


def _embeddings(student: Student, faces: Faces, rows: npt.NDArray[np.int64]) -> Iterator[Tensor]:
    for start in range(0, len(rows), _BATCH):
        pixels = faces.pixels[rows[start : start + _BATCH]]
        crops = cut_crops(
            to_tensor(torch.from_numpy(pixels), torch.zeros(len(pixels), dtype=torch.bool))
        )
        crops = crops.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = student.extractor(crops)
        yield functional.normalize(embeddings.float())
