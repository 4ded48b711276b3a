"""Training data whose views are drawn anew for every batch and shown to the teachers at once.

Cached views (`shared.training.views`) are limited in number, and their embeddings must be stored.
On a GPU a teacher costs less than the student, so no view need ever come twice. The teachers see a
face after it was mixed, turned and moved, before it was degraded: the student learns to see through
the degradation.

A view may be degraded several times: the teachers, which take most of the time, then see a part of
the batch only.
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

_POOL_VIEWS = 65_536
"""Views that wait to be used again; 2.5 GB."""


class LiveData:
    """Photographs and mixtures of them, with the embeddings that the teachers give at once."""

    def __init__(
        self,
        faces: Faces,
        split: Split,
        teachers: Sequence[TeacherModule],
        *,
        mixed: float,
        uses: int = 1,
    ) -> None:
        """Prepare the data.

        Args:
            faces: training faces; their cached embeddings are not used.
            split: the training rows and their labels.
            teachers: one network, or several whose unit embeddings are concatenated.
            mixed: share of the views that is mixtures of two faces.
            uses: how often a view is used, on average.
        """
        self._uses = uses
        self._pool = _Pool()
        self._train = by_pose(split.train, faces.yaw)
        self._teachers = teachers
        self._mixed = mixed
        self._pixels = torch.from_numpy(faces.pixels)
        self._labels = torch.from_numpy(split.labels)

    def batches(self, size: int, *, seed: int, start: int) -> Iterator[Rows]:
        """Batches of rows of faces that give `size` crops; see `loop.Data`."""
        return shuffled(self._train, size=size // self._uses, seed=seed, start=start)

    def load(self, batch: Rows, process: Process) -> dict[str, Tensor]:
        """The `crops` (N, 3, 112, 96), `target` (N, D) and `label` (N,) of a batch.

        Mixtures have the label NOBODY. Views that are used again are not part of a checkpoint: a
        resumed run draws others.
        """
        faces, target, label = self._drawn(batch, process)
        if self._uses > 1:
            self._pool.put(faces, target, label)
            faces, target, label = self._pool.picked(len(faces) * self._uses)
        crops = degrade(cut_crops(faces)).contiguous(memory_format=torch.channels_last)
        return {"crops": crops, "target": target, "label": label}

    def _drawn(self, batch: Rows, process: Process) -> tuple[Tensor, Tensor, Tensor]:
        """New views (N, 3, 112, 112), their targets (N, D) and labels (N,)."""
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
        return faces, embed(self._teachers, faces), labels

    def _faces(self, rows: Rows, device: torch.device) -> Tensor:
        mirrored = torch.rand(len(rows), device=device) < 0.5
        return to_tensor(rows_of(self._pixels, rows, device), mirrored)


class _Pool:
    """The newest views with their targets and labels; older ones are overwritten."""

    def __init__(self) -> None:
        self._columns: list[Tensor] = []
        self._put = 0

    def put(self, faces: Tensor, target: Tensor, label: Tensor) -> None:
        """Keep views: (N, 3, H, W) in [-1, 1], (N, D) and (N,)."""
        stored = ((faces.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        added = (stored, target, label)
        if not self._columns:
            self._columns = [column.new_empty((_POOL_VIEWS, *column.shape[1:])) for column in added]
        places = (self._put + torch.arange(len(faces))) % _POOL_VIEWS
        self._put += len(faces)
        for column, rows in zip(self._columns, added, strict=True):
            column[places.to(column.device)] = rows

    def picked(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Random views, mirrored at random: a target is of both a face and its mirror image."""
        rows = torch.randint(min(self._put, _POOL_VIEWS), (count,)).to(self._columns[0].device)
        stored, target, label = (column[rows] for column in self._columns)
        faces = stored.float() / 127.5 - 1
        mirrored = torch.rand(count, 1, 1, 1, device=faces.device) < 0.5
        return torch.where(mirrored, faces.flip(3), faces), target, label


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
