"""Fit what follows an extractor to it: a student's heads, the projection in CompNet."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.models.face_codec import Identity
from shared.training.augment import cut_crops
from shared.training.faces import Faces, to_tensor
from shared.training.live_data import embed
from shared.training.processes import default_device
from shared.training.split import NOBODY, Split
from shared.training.student import Student
from shared.training.teacher_module import TeacherModule

_BATCH = 64
_NOBODIES = 6000
"""Faces of unknown people used in the fit besides those of known people."""
_ASKED = 187 * _BATCH
"""Faces of which the teachers are asked, if their embeddings are not cached: whole batches, since a
teacher is compiled for every size on a GPU."""
_RIDGE = 2e-5  # per face
_COMPARED = 6000
"""Faces of which an earlier extractor in CompNet is asked."""


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
    embeddings = _embeddings(student, faces, rows)

    if teachers:
        some = np.random.default_rng(seed).permutation(len(rows))[:_ASKED]
        seen = embeddings[some]
        pictures = _pictures(faces, rows[some])
        targets = torch.cat([embed(teachers, each).cpu() for each in pictures])
    else:
        seen = embeddings
        targets = functional.normalize(torch.from_numpy(faces.teacher[rows].sum(1)))
    student.to_teacher.weight.copy_(_regression(seen, targets))

    labels = torch.from_numpy(split.labels[rows[: known.sum()]])
    sums = torch.zeros_like(student.lmcl.weight).index_add_(0, labels, embeddings[: len(labels)])
    student.lmcl.weight.copy_(functional.normalize(sums))


@torch.no_grad()
def renew_identity(
    identity: Identity, student: Student, faces: Faces, split: Split, *, seed: int
) -> None:
    """Replace the extractor inside CompNet by the student's, which has learned more since.

    The new projection is a ridge regression from the student's embeddings to the identities of the
    old one, so that maps keep their meaning and RecNet can read them.

    Args:
        identity: is changed; of the student's width.
        student: the trained extractor; its heads are not used.
        faces: training faces.
        split: the training rows.
        seed: seed of the choice of faces.
    """
    rows = np.random.default_rng(seed).permutation(split.train)[:_COMPARED]
    before = _answers(identity, faces, rows, pick=lambda answer: answer[0])
    rotation = _regression(_embeddings(student, faces, rows), before)
    identity.stages.load_state_dict(student.extractor.stages.state_dict())
    identity.embed.weight.copy_(rotation @ student.extractor.embed.weight)
    identity.embed.bias.copy_(rotation @ student.extractor.embed.bias)


def _regression(given: Tensor, wanted: Tensor) -> Tensor:
    """W (M, K) for which `given` (N, K) W^T is nearest to `wanted` (N, M)."""
    ridge = _RIDGE * len(given) * torch.eye(given.shape[1])
    found: Tensor = torch.linalg.solve(given.T @ given + ridge, given.T @ wanted)
    return found.T


def _embeddings(student: Student, faces: Faces, rows: npt.NDArray[np.int64]) -> Tensor:
    return functional.normalize(_answers(student.extractor, faces, rows))


def _answers(
    network: nn.Module,
    faces: Faces,
    rows: npt.NDArray[np.int64],
    *,
    pick: Callable[[Any], Tensor] = lambda answer: answer,
) -> Tensor:
    """A network's answers to the crops of some faces, (N, D) on the CPU."""
    device = default_device()
    trained = network.training
    network.to(device).eval()
    answers = []
    for pictures in _pictures(faces, rows):
        crops = cut_crops(pictures).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            answers.append(pick(network(crops)).float().cpu())
    network.cpu().train(trained)
    return torch.cat(answers)


def _pictures(faces: Faces, rows: npt.NDArray[np.int64]) -> Iterator[Tensor]:
    device = default_device()
    for start in range(0, len(rows), _BATCH):
        pixels = torch.from_numpy(faces.pixels[rows[start : start + _BATCH]]).to(device)
        yield to_tensor(pixels, torch.zeros(len(pixels), dtype=torch.bool, device=device))
