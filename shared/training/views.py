"""Views: mixtures of two faces, each with the teacher's embedding of the mixture.

A student soon memorizes tens of thousands of photographs, but mixtures of two are unlimited in
number. A student that agrees with its teacher on mixtures also agrees on strangers (Beyer et al.,
Knowledge distillation: a good teacher is patient and consistent, CVPR 2022).

A view is stored as its parameters, not as pixels.
"""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch import Tensor

from shared.training.augment import Placement, place, turn
from shared.training.faces import SIZE, by_pose, load_faces, rows_of, to_bytes, to_tensor
from shared.training.split import split_faces

if TYPE_CHECKING:  # training itself does not need the teachers' runtime
    from shared.training.teacher import Teacher

VIEWS_FILE = "views.npz"
_BATCH = 64
CUT_SLOPE = 4.0
"""Blends from one face to the other within half the width."""
TURNED_SHARE, MOST_TURNED = 0.35, math.radians(50)
"""Share of views that are turned, and the largest angle."""


@dataclass(frozen=True, slots=True)
class Views:
    """V mixtures with the teacher's embeddings.

    The weight of the first face at a point (x, y) of [-1, 1]^2 is
    clamp(share + slope * (x cos(direction) + y sin(direction)), 0, 1): a uniform blend for slope
    zero, otherwise a cut with a soft edge.

    Attributes:
        first: (V,) rows of the first faces.
        second: (V,) rows of the second faces.
        mirrored: (V, 2) whether each of the two is mirrored.
        share: (V,) in [0, 1].
        slope: (V,) per half width.
        direction: (V,) radians.
        turn: (V,) radians by which the mixture is turned, see `augment.turn`.
        placement: (V, 4) see `augment.Placement`.
        teacher: (V, D) unit vectors.
    """

    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]
    mirrored: npt.NDArray[np.bool_]
    share: npt.NDArray[np.float32]
    slope: npt.NDArray[np.float32]
    direction: npt.NDArray[np.float32]
    turn: npt.NDArray[np.float32]
    placement: npt.NDArray[np.float32]
    teacher: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Number of views."""
        return len(self.first)


def render(
    views: Views, rows: npt.NDArray[np.int64], pixels: Tensor, *, device: torch.device
) -> Tensor:
    """Render views: (N, 3, 112, 112) in [-1, 1], as the teacher has seen them.

    Args:
        views: all views.
        rows: (N,) rows of `views`.
        pixels: (F, 112, 112, 3) RGB of all faces.
        device: device to render on.
    """

    def of_rows(column: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(column[rows]).to(device)

    mirrored = of_rows(views.mirrored)
    first, second = (
        to_tensor(rows_of(pixels, faces[rows], device), mirrored[:, place_of])
        for place_of, faces in enumerate((views.first, views.second))
    )
    share, slope, direction = (
        of_rows(column)[:, None, None] for column in (views.share, views.slope, views.direction)
    )
    mixed = blend(first, second, share=share, slope=slope, direction=direction)
    return place(turn(mixed, of_rows(views.turn)), Placement(*of_rows(views.placement).unbind(1)))


def blend(
    first: Tensor, second: Tensor, *, share: Tensor, slope: Tensor, direction: Tensor
) -> Tensor:
    """Mix pairs of (N, 3, 112, 112) faces; see `Views` for the parameters, (N, 1, 1) each."""
    axis = (torch.arange(SIZE, device=first.device) + 0.5) * (2 / SIZE) - 1
    along = axis[None, None, :] * direction.cos() + axis[None, :, None] * direction.sin()
    weight = (share + slope * along).clamp(0, 1)[:, None]
    return torch.lerp(second, first, weight)


def draw_views(rows: npt.NDArray[np.int64], *, count: int, seed: int) -> Views:
    """Draw `count` views of the given rows of faces, without the teacher's embeddings."""
    random = np.random.default_rng(seed)
    rounds = 1 + count // len(rows)
    first = np.concatenate([random.permutation(rows) for _ in range(rounds)])[:count]
    cut = random.random(count) < 0.5
    turned = random.random(count) < TURNED_SHARE
    placement = np.stack(
        [
            random.uniform(-1, 1, count) * np.radians(5),
            1 + random.uniform(-1, 1, count) * 0.07,
            random.uniform(-1, 1, count) * 4 / 56,
            random.uniform(-1, 1, count) * 4 / 56,
        ],
        axis=1,
    )
    return Views(
        first=first.astype(np.int32),
        second=random.choice(rows, count).astype(np.int32),
        mirrored=random.random((count, 2)) < 0.5,
        # Limits the offset of a cut, so that both faces stay visible.
        share=np.where(cut, 0.5 + random.uniform(-1, 1, count), random.random(count)).astype(
            np.float32
        ),
        slope=np.where(cut, CUT_SLOPE, 0).astype(np.float32),
        direction=random.uniform(0, 2 * np.pi, count).astype(np.float32),
        turn=np.where(turned, random.uniform(-1, 1, count) * MOST_TURNED, 0).astype(np.float32),
        placement=placement.astype(np.float32),
        teacher=np.empty((count, 0), np.float32),
    )


def cache_views(teacher: "Teacher", cache: Path, *, count: int, seed: int) -> None:
    """Draw views of the training faces, embed them, and write `cache/views.npz`.

    Args:
        teacher: the teacher of the cached embeddings.
        cache: folder that holds the faces and the teacher's embeddings of them.
        count: number of views.
        seed: random seed.
    """
    faces = load_faces(cache)
    pixels, cpu = torch.from_numpy(faces.pixels), torch.device("cpu")
    rows = by_pose(split_faces(faces).train, faces.yaw)
    views = draw_views(rows, count=count, seed=seed)
    embeddings = []
    for start in track(range(0, count, _BATCH), description="views"):
        rows = np.arange(start, min(count, start + _BATCH))
        embeddings.append(teacher.embed(to_bytes(render(views, rows, pixels, device=cpu))))
    answered = replace(views, teacher=np.concatenate(embeddings))
    np.savez(cache / VIEWS_FILE, **asdict(answered))


def load_views(cache: Path) -> Views:
    """Read what `cache_views` has written."""
    with np.load(cache / VIEWS_FILE) as stored:
        return Views(**stored)


NO_VIEWS = draw_views(np.zeros(1, np.int64), count=0, seed=0)
"""For stages without mixtures."""
