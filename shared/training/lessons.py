"""What a student is shown, and what the teacher makes of it."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared.training.augment import cut_crops, degrade, place, random_placement
from shared.training.faces import Faces, by_pose, to_tensor
from shared.training.loop import shuffled
from shared.training.processes import Process
from shared.training.split import NOBODY, Split
from shared.training.views import Views, render

Rows = npt.NDArray[np.int64]

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
        self._faces, self._views, self._split = faces, views, split
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
        self._targets = both / np.linalg.norm(both, axis=1, keepdims=True)

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
        plain, mixed = (rows[process.rank :: process.count] for rows in batch)
        photographs = to_tensor(self._faces.pixels[plain], torch.rand(len(plain)) < 0.5)
        if not self._clean:
            placement = random_placement(len(plain), device=photographs.device)
            photographs = place(photographs, placement)
        crops, targets, labels = [photographs], [self._targets[plain]], [self._split.labels[plain]]
        if len(mixed):
            crops.append(render(self._views, mixed, self._faces.pixels))
            targets.append(self._views.teacher[mixed])
            labels.append(np.full(len(mixed), NOBODY))
        order = torch.randperm(len(plain) + len(mixed))
        seen = cut_crops(torch.cat(crops))[order].to(process.device)
        if not self._clean:
            seen = degrade(seen)
        return {
            "crops": seen.contiguous(memory_format=torch.channels_last),
            "target": torch.from_numpy(np.concatenate(targets))[order].to(process.device),
            "label": torch.from_numpy(np.concatenate(labels))[order].to(process.device),
        }
