"""What a student is shown, and what the teacher makes of it."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared.training.augment import cut_crops, degrade, place, random_placement
from shared.training.faces import Faces, by_pose, rows_of, to_tensor
from shared.training.loop import shuffled
from shared.training.processes import Process
from shared.training.split import NOBODY, Split
from shared.training.views import Views, render

Rows = npt.NDArray[np.int64]

_MOST_OF_FREE = 0.5
"""Share of a device's free memory that the pixels of all faces may take."""

Kind = Literal["all", "labelled"]
"""`all`: every face, as a poor camera may see it. `labelled`: faces of known identity, clean and
mirrored at random, as the paper has them."""


class Lessons:
    """Photographs with the teacher's embedding of them, and mixtures with that of each."""

    def __init__(
        self, faces: Faces, views: Views, split: Split, *, mixed: float, kind: Kind = "all"
    ) -> None:
        """Gather them.

        Args:
            faces: training faces.
            views: mixtures of them; may be empty where `mixed` is 0.
            split: which faces may be trained on, and whose they are.
            mixed: share of a batch that is mixtures.
            kind: of the photographs.
        """
        self._views = views
        self._mixed = mixed
        self._clean = kind == "labelled"
        known = split.labels[split.train] != NOBODY
        if kind == "labelled":
            self._train = split.train[known]
        else:
            self._train = by_pose(split.train, faces.yaw)
        # One answer for a face and its mirror image: the sum of the two is the better one, and
        # the student need not look twice.
        both = faces.teacher.sum(1)
        self._targets = torch.from_numpy(both / np.linalg.norm(both, axis=1, keepdims=True))
        self._labels = torch.from_numpy(split.labels)
        self._pixels = torch.from_numpy(faces.pixels)
        self._answers = torch.from_numpy(views.teacher)

    def batches(self, size: int, *, seed: int, start: int) -> Iterator[tuple[Rows, Rows]]:
        """Rows of photographs and rows of views; see `loop.Data`."""
        mixed = round(size * self._mixed)
        views = np.arange(len(self._views))
        return zip(
            shuffled(self._train, size=size - mixed, seed=seed, start=start),
            shuffled(views, size=mixed, seed=seed + 1, start=start),
            strict=True,
        )

    def load(self, batch: tuple[Rows, Rows], process: Process) -> dict[str, Tensor]:
        """The `crops` (N, 3, 112, 96), `target` (N, D) and `label` (N,) of a batch.

        In random order, and mixtures are labelled as nobody.
        """
        device = process.device
        self._settle(device)
        plain, mixed = (rows[process.rank :: process.count] for rows in batch)
        mirrored = torch.rand(len(plain), device=device) < 0.5
        photographs = to_tensor(rows_of(self._pixels, plain, device), mirrored)
        if not self._clean:
            placement = random_placement(len(plain), device=device)
            photographs = place(photographs, placement)
        crops = [photographs]
        targets = [rows_of(self._targets, plain, device)]
        labels = [rows_of(self._labels, plain, device)]
        if len(mixed):
            crops.append(render(self._views, mixed, self._pixels, device=device))
            targets.append(rows_of(self._answers, mixed, device))
            labels.append(torch.full((len(mixed),), NOBODY, device=device))
        order = torch.randperm(len(plain) + len(mixed), device=device)
        seen = cut_crops(torch.cat(crops))[order]
        if not self._clean:
            seen = degrade(seen)
        return {
            "crops": seen.contiguous(memory_format=torch.channels_last),
            "target": torch.cat(targets)[order],
            "label": torch.cat(labels)[order],
        }

    def _settle(self, device: torch.device) -> None:
        """Have everything lie on the device, once; pixels only where they leave it room to train.

        A batch then costs the host no more than the numbers of its rows.
        """
        if device == self._targets.device:
            return
        self._targets, self._labels, self._answers = (
            told.to(device) for told in (self._targets, self._labels, self._answers)
        )
        free, _ = torch.cuda.mem_get_info(device)
        if self._pixels.nbytes < _MOST_OF_FREE * free:
            self._pixels = self._pixels.to(device)
