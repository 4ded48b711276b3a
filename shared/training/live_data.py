"""Training data whose views are drawn anew for every batch and shown to the teachers at once.

Cached views (`shared.training.views`) are limited in number, and their embeddings must be stored.
On a GPU a teacher costs less than the student, so no view need ever come twice. The teachers see a
face after it was mixed, turned and moved, before it was degraded: the student learns to see through
the degradation.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shared.training.augment import cut_crops, degrade, place, random_placement, turn
from shared.training.dataset import settled_pixels
from shared.training.faces import Faces, by_pose, rows_of, to_tensor
from shared.training.loop import shuffled
from shared.training.processes import Process
from shared.training.split import NOBODY, Split
from shared.training.teacher_module import TeacherModule
from shared.training.views import CUT_SLOPE, MOST_TURNED, TURNED_SHARE, blend

Rows = np.ndarray


class LiveData:
    """Photographs and mixtures of them, with the embeddings that the teachers give at once."""

    def __init__(
        self, faces: Faces, split: Split, teachers: Sequence[TeacherModule], *, mixed: float
    ) -> None:
        """Prepare the data.

        Args:
            faces: training faces; their cached embeddings are not used.
            split: the training rows and their labels.
            teachers: one network, or several whose unit embeddings are concatenated.
            mixed: share of a batch that is mixtures of two faces.
        """
        self._train = by_pose(split.train, faces.yaw)
        self._teachers = teachers
        self._mixed = mixed
        self._pixels = torch.from_numpy(faces.pixels)
        self._labels = torch.from_numpy(split.labels)

    def batches(self, size: int, *, seed: int, start: int) -> Iterator[Rows]:
        """Batches of rows of faces; see `loop.Data`."""
        return shuffled(self._train, size=size, seed=seed, start=start)

    def load(self, batch: Rows, process: Process) -> dict[str, Tensor]:
        """The `crops` (N, 3, 112, 96), `target` (N, D) and `label` (N,) of a batch.

        Mixtures have the label NOBODY.
        """
        device = process.device
        self._pixels = settled_pixels(self._pixels, device)
        rows = batch[process.rank :: process.count]
        labels = rows_of(self._labels, rows, device)
        faces = self._faces(rows, device)
        mixed, turned = (_some(len(rows), share, device) for share in (self._mixed, TURNED_SHARE))
        if len(mixed):
            others = self._train[torch.randint(len(self._train), (len(mixed),)).numpy()]
            both = _mixture(faces[mixed], self._faces(others, device))
            faces = faces.index_copy(0, mixed, both)
            labels = labels.index_fill(0, mixed, NOBODY)
        angles = torch.empty(len(turned), device=device).uniform_(-MOST_TURNED, MOST_TURNED)
        faces = faces.index_copy(0, turned, turn(faces[turned], angles))
        faces = place(faces, random_placement(len(rows), device=device))
        crops = degrade(cut_crops(faces)).contiguous(memory_format=torch.channels_last)
        return {"crops": crops, "target": embed(self._teachers, faces), "label": labels}

    def _faces(self, rows: Rows, device: torch.device) -> Tensor:
        mirrored = torch.rand(len(rows), device=device) < 0.5
        return to_tensor(rows_of(self._pixels, rows, device), mirrored)


@torch.no_grad()
def embed(teachers: Sequence[TeacherModule], faces: Tensor) -> Tensor:
    """The teachers' embeddings of faces and their mirror images, added and concatenated.

    Args:
        teachers: the networks, in the order of concatenation.
        faces: (N, 3, 112, 112) in [-1, 1].

    Returns:
        (N, D) unit vectors; their cosine is the mean of the networks' cosines.
    """
    both = torch.cat([faces, faces.flip(3)])
    answers = []
    for teacher in teachers:
        unit = functional.normalize(teacher.to(faces.device).of_faces(both).embedding.float())
        answers.append(functional.normalize(unit[: len(faces)] + unit[len(faces) :]))
    concatenated: Tensor = torch.cat(answers, 1) / len(answers) ** 0.5
    return concatenated


def embedding_size(teachers: Sequence[TeacherModule]) -> int:
    """D of `embed`."""
    return embed(teachers, torch.zeros(1, 3, 112, 112)).shape[1]


def _some(count: int, share: float, device: torch.device) -> Tensor:
    """Rows of a fixed share of a batch, at random; drawn on the host, to avoid a device sync."""
    return torch.randperm(count)[: round(count * share)].to(device, non_blocking=True)


def _mixture(first: Tensor, second: Tensor) -> Tensor:
    """Mix pairs of faces, half of them by a uniform blend, half by a cut with a soft edge."""
    drawn = torch.rand(4, len(first), 1, 1, device=first.device)
    cut = drawn[0] < 0.5
    share = torch.where(cut, 2 * drawn[1] - 0.5, drawn[1])
    slope = torch.where(cut, CUT_SLOPE, 0.0)
    return blend(first, second, share=share, slope=slope, direction=drawn[2] * (2 * torch.pi))
