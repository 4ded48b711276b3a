"""Training data: photographs and mixtures with the teacher's embeddings."""

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
"""Share of the device's free memory that the pixels of all faces may use."""

Kind = Literal["all", "labelled"]
"""`all`: every face, degraded at random. `labelled`: faces of known identity, clean and mirrored
at random, as in the paper."""


class TrainingData:
    """Photographs and mixtures of them, each with the teacher's embedding."""

    def __init__(
        self, faces: Faces, views: Views, split: Split, *, mixed: float, kind: Kind = "all"
    ) -> None:
        """Prepare the data.

        Args:
            faces: training faces.
            views: mixtures of faces; may be empty if `mixed` is 0.
            split: the training rows and their labels.
            mixed: share of a batch that is mixtures.
            kind: kind of photographs.
        """
        self._views = views
        self._mixed = mixed
        self._clean = kind == "labelled"
        known = split.labels[split.train] != NOBODY
        if kind == "labelled":
            self._train = split.train[known]
        else:
            self._train = by_pose(split.train, faces.yaw)
        # The sum of the embeddings of a face and its mirror image is the better target, and the
        # student need not embed twice.
        both = faces.teacher.sum(1)
        self._targets = torch.from_numpy(both / np.linalg.norm(both, axis=1, keepdims=True))
        self._labels = torch.from_numpy(split.labels)
        self._pixels = torch.from_numpy(faces.pixels)
        self._view_targets = torch.from_numpy(views.teacher)

    def batches(self, size: int, *, seed: int, start: int) -> Iterator[tuple[Rows, Rows]]:
        """Batches of (photograph rows, view rows); see `loop.Data`."""
        mixed = round(size * self._mixed)
        views = np.arange(len(self._views))
        return zip(
            shuffled(self._train, size=size - mixed, seed=seed, start=start),
            shuffled(views, size=mixed, seed=seed + 1, start=start),
            strict=True,
        )

    def load(self, batch: tuple[Rows, Rows], process: Process) -> dict[str, Tensor]:
        """The `crops` (N, 3, 112, 96), `target` (N, D) and `label` (N,) of a batch.

        The order is random. Mixtures have the label NOBODY.
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
            targets.append(rows_of(self._view_targets, mixed, device))
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
        """Move the data to the device once; pixels only if enough memory remains for training.

        A batch then costs the host no more than its row numbers.
        """
        if device == self._targets.device:
            return
        self._targets, self._labels, self._view_targets = (
            array.to(device) for array in (self._targets, self._labels, self._view_targets)
        )
        self._pixels = settled_pixels(self._pixels, device)


def settled_pixels(pixels: Tensor, device: torch.device) -> Tensor:
    """The pixels of all faces on a GPU, if enough of its memory remains for training."""
    if device == pixels.device or device.type == "cpu":
        return pixels
    free, _ = torch.cuda.mem_get_info(device)
    return pixels.to(device) if pixels.nbytes < _MOST_OF_FREE * free else pixels
