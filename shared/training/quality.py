"""Fitting a quality head: what a map tells of the errors that its face will cause.

Two photographs of each person go through the codec as they are and spoilt at random. What a head
learns to foresee is how much nearer a face stays to the other photograph of its person than to
the nearest strangers who are spoilt alike (after SDD-FIQA), how long its embedding is, what was
spoilt, and whether it resembles many others (`shared.training.crowd`).

People of training teach the head; people held out set its scale (`shared.training.trust`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor, nn
from torch.nn import functional

from shared.codec.compact_map import MapFormat, dequantize
from shared.errors import InvalidTraining
from shared.evaluation.coded import Coded, Coder, joined
from shared.evaluation.pipeline import BATCH, Progress, crops_of, no_progress
from shared.evaluation.spoilings import PARTS, RANDOM
from shared.faces.fitness import CUT_FROM
from shared.training.crowd import crowding, nearest_strangers
from shared.training.faces import UNLABELLED, Faces

_OUTSIDE = PARTS.index("outside")
_DRAWS = 2
_ALIKE, _ALIKE_DRAWS = 32, 2
_HIDDEN = 96
_EPOCHS = 60

UNSPOILT = 0
"""The kind of faces that are as they are."""


@dataclass(frozen=True, slots=True)
class Sample:
    """N faces, spoilt or not.

    Attributes:
        people: (N,) who each shows.
        photos: (N,) which photograph it was made of.
        kinds: (N,) how it was spoilt, as a number in `RANDOM`.
        alike: (N,) faces of one number are spoilt alike.
        hidden: (N,) share of the crop that was drawn black, in [0, 1].
        coded: through codec and extractor.
    """

    people: NDArray[np.int64]
    photos: NDArray[np.int64]
    kinds: NDArray[np.int64]
    alike: NDArray[np.int64]
    hidden: NDArray[np.float32]
    coded: Coded

    @property
    def spoilt(self) -> NDArray[np.float32]:
        """(N, K) how far each of `PARTS` is spoilt: 0 or 1, but by its share what is outside."""
        table = np.array(
            [[part in spoiling.parts for part in PARTS] for spoiling in RANDOM.values()], np.float32
        )
        spoilt = table[self.kinds]
        spoilt[:, _OUTSIDE] *= np.minimum(1, self.hidden / CUT_FROM)
        return spoilt


def two_each(
    faces: Faces, rows: NDArray[np.int64], *, people: int, seed: int = 0
) -> NDArray[np.int64]:
    """Rows of two photographs of each of so many people, at most; both of a person side by side.

    Raises:
        InvalidTraining: TOO_FEW_FACES; fewer than 8 people have two photographs.
    """
    owners = faces.identities()
    of_person: dict[str, list[int]] = {}
    for row in rows:
        if owners[row] != UNLABELLED:
            of_person.setdefault(owners[row], []).append(int(row))
    random = np.random.default_rng(seed)
    several = [own for own in of_person.values() if len(own) >= 2]
    if len(several) < 8:
        raise InvalidTraining(
            "TOO_FEW_FACES",
            f"{len(several)} people have two photographs; at least 8 are needed",
        )
    chosen = random.permutation(len(several))[:people]
    return np.concatenate([random.permutation(several[each])[:2] for each in chosen])


def draw_sample(
    coder: Coder,
    faces: Faces,
    rows: NDArray[np.int64],
    *,
    seed: int,
    progress: Progress = no_progress,
) -> Sample:
    """Every face as it is, and spoilt twice at random.

    Args:
        coder: of the model that the head is for.
        faces: the training cache.
        rows: as `two_each` gives them.
        seed: of all draws.
        progress: called for every batch.
    """
    draws = list(RANDOM.values())
    parts: list[Sample] = []
    for batch, (start, kinds) in enumerate(_drawn(len(rows), len(draws), seed)):
        own = np.arange(start, start + len(kinds))
        pictures = [
            draws[kind].draw(
                faces.pixels[rows[photo]], np.random.default_rng([seed, batch, int(photo)])
            )
            for kind, photo in zip(kinds, own, strict=True)
        ]
        parts.append(_coded(coder, np.stack(pictures), own, kinds, kinds))
        progress(sum(len(part.kinds) for part in parts), len(rows) * (1 + _DRAWS))
    return together(parts)


def draw_alike(
    coder: Coder,
    faces: Faces,
    rows: NDArray[np.int64],
    *,
    seed: int,
    progress: Progress = no_progress,
) -> Sample:
    """Faces spoilt alike, some at a time: by one camera's fault, of one strength and direction.

    What two faces have in common drives them together, and of faces spoilt each by its own draw
    few have much in common. Arguments as of `draw_sample`.
    """
    draws = list(RANDOM.values())
    parts: list[Sample] = []
    starts = range(0, len(rows), _ALIKE)
    kind = UNSPOILT
    for start in starts:
        own = np.arange(start, min(start + _ALIKE, len(rows)))
        for _ in range(_ALIKE_DRAWS):
            kind = kind % (len(draws) - 1) + 1
            number = len(draws) + len(parts)
            key = [seed, number]
            pictures = [
                draws[kind].draw(
                    faces.pixels[rows[photo]],
                    np.random.default_rng([*key, int(photo)] if draws[kind].grainy else key),
                )
                for photo in own
            ]
            kinds, alike = np.full(len(own), kind), np.full(len(own), number)
            parts.append(_coded(coder, np.stack(pictures), own, kinds, alike))
            progress(len(parts), len(starts) * _ALIKE_DRAWS)
    return together(parts)


def _coded(
    coder: Coder,
    pictures: NDArray[np.uint8],
    photos: NDArray[np.int64],
    kinds: NDArray[np.int64],
    alike: NDArray[np.int64],
) -> Sample:
    return Sample(
        people=photos // 2,
        photos=photos,
        kinds=kinds,
        alike=alike,
        hidden=(crops_of(pictures) == 0).all(3).mean((1, 2), dtype=np.float32),
        coded=coder.code([pictures]),
    )


def together(parts: Sequence[Sample]) -> Sample:
    """One after the other; of the same people and photographs."""
    return Sample(
        people=np.concatenate([part.people for part in parts]),
        photos=np.concatenate([part.photos for part in parts]),
        kinds=np.concatenate([part.kinds for part in parts]),
        alike=np.concatenate([part.alike for part in parts]),
        hidden=np.concatenate([part.hidden for part in parts]),
        coded=joined([part.coded for part in parts]),
    )


def _drawn(count: int, kinds: int, seed: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Where a batch begins, and how each of its faces is spoilt."""
    random = np.random.default_rng(seed)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        yield start, np.full(size, UNSPOILT)
        for _ in range(_DRAWS):
            yield start, random.integers(1, kinds, size)


def foreseen(sample: Sample, nearest: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) what a head is to foresee: a face's margin and the logarithm of its embedding's length.

    Each counts half, as a distance to its mean in standard deviations. The margin of one pair says
    much of what is spoilt, and little of an unspoilt face; there the length says more. `nearest`
    are the `nearest_strangers`.
    """
    both = _standard(margins(sample, nearest)) + _standard(np.log(sample.coded.lengths))
    return np.asarray(both / 2, np.float32)


def _standard(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """0 if all are the same, as lengths of an imported extractor."""
    spread = values.std()
    return np.asarray((values - values.mean()) / (spread or 1), np.float32)


def margins(sample: Sample, nearest: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) cosine to the person's other photograph, as it is, less that to `nearest_strangers`."""
    unspoilt = np.nonzero(sample.kinds == UNSPOILT)[0]
    of_photo = np.empty(len(unspoilt), np.int64)
    of_photo[sample.photos[unspoilt]] = unspoilt
    vectors = sample.coded.vectors
    mates = vectors[of_photo[sample.photos ^ 1]]
    found: NDArray[np.float32] = np.einsum("nd,nd->n", vectors, mates) - nearest
    return found


def train_head(sample: Sample, formats: Sequence[MapFormat]) -> bytes:
    """Weights of a head, as its file holds them.

    Args:
        sample: of people of training.
        formats: of the codec's operating points; a head reads maps of each.
    """
    torch.manual_seed(0)
    seen = [
        torch.from_numpy(dequantize(sample.coded.symbols, fmt)).flatten(1).to(torch.float16)
        for fmt in formats
    ]
    nearest = nearest_strangers(sample.coded.vectors, sample.people, sample.kinds)
    wanted = torch.from_numpy(
        np.column_stack([foreseen(sample, nearest), crowding(nearest, sample.kinds)]).astype(
            np.float32
        )
    )
    spoilt = torch.from_numpy(sample.spoilt)
    hidden = nn.Linear(seen[0].shape[1], _HIDDEN)
    out = nn.Linear(_HIDDEN, 1 + len(PARTS) + 1)
    layers = [*hidden.parameters(), *out.parameters()]
    optimizer = torch.optim.AdamW(layers, lr=1e-3, weight_decay=0.1)
    steps = _EPOCHS * (len(wanted) // 128 + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(wanted), (128,))
        maps = seen[int(torch.randint(len(seen), ()))][rows].float()
        said = out(functional.dropout(hidden(functional.dropout(maps, 0.3)).relu(), 0.2))
        loss = _loss(said, wanted[rows], spoilt[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    named = {"hidden": hidden, "out": out}
    return save(
        {
            f"{name}.{kind}": tensor.detach().numpy().astype(np.float16)
            for name, layer in named.items()
            for kind, tensor in layer.named_parameters()
        }
    )


def _loss(said: Tensor, wanted: Tensor, spoilt: Tensor) -> Tensor:
    graded = functional.smooth_l1_loss(said[:, [0, -1]], wanted, beta=0.5)
    return 2 * graded + functional.binary_cross_entropy_with_logits(said[:, 1:-1], spoilt)
