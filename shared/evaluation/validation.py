"""Verification on people held out of training; all choices are made on this."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.panel import NO_JUDGES, Panel
from shared.evaluation.pipeline import BATCH, Embedded, Maker, Pipeline, Progress, no_progress
from shared.evaluation.protocol import Pairs
from shared.evaluation.result import Result, score_result
from shared.model_directory import ModelDirectory
from shared.training.faces import Faces
from shared.training.split import Split, split_faces

PAIRS = 6000
FOLDS = 10
# Draws of the impostor pairs; one is enough unless a yaw difference is required.
_DRAWS = 400


def evaluate_validation(
    model: ModelDirectory,
    faces: Faces,
    *,
    points: Sequence[str] | None = None,
    panel: Panel = NO_JUDGES,
    count: int = PAIRS,
    turned: float = 0,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Result:
    """Verify pairs of held-out people.

    Args:
        model: a verified model directory.
        faces: the training cache; `split_faces` selects the held-out people.
        points: operating points; None takes all.
        panel: judges besides the own extractor.
        count: number of pairs, at most; fewer are faster.
        turned: smallest difference in yaw, in degrees, between a pair's photographs.
        threads: number of ONNX Runtime threads.
        progress: called after every batch.
    """
    began = time.perf_counter()
    split = split_faces(faces)
    drawn = balanced_pairs(
        _owners(faces, split), count=count, yaw=faces.yaw[split.validation], turned=turned
    )
    used, places = np.unique([drawn.first, drawn.second], return_inverse=True)
    first, second = places.reshape(2, -1)
    pipeline = Pipeline(model, points, panel=panel, threads=threads)
    embedded = pipeline.embed(
        faces.batches(split.validation[used], BATCH), total=len(used), progress=progress
    )
    pairs = Pairs(first=first, second=second, same=drawn.same, folds=drawn.folds)
    seconds = time.perf_counter() - began
    name = f"validation, turned by {turned:g} degrees" if turned else "validation"
    return score_result(model, embedded, pairs, dataset=name, seconds=seconds)


def embed_validation(
    model: ModelDirectory,
    faces: Faces,
    split: Split,
    *,
    makers: Mapping[str, Maker] | None = None,
    threads: int = 1,
) -> tuple[Embedded, NDArray[np.int64]]:
    """Embed all photographs of the held-out people at every operating point, as for calibration.

    Raises:
        InvalidModel: DECODE_ONLY; there is nothing that makes the maps of an operating point.

    Returns:
        The embeddings of V photographs, and (V,) the person in each, as an index of
        `split.held_out`.
    """
    rows = split.validation
    pipeline = Pipeline(model, list(model.manifest.codecs), makers=makers, threads=threads)
    embedded = pipeline.embed(faces.batches(rows, BATCH), total=len(rows), progress=no_progress)
    return embedded, _owners(faces, split)


def _owners(faces: Faces, split: Split) -> NDArray[np.int64]:
    """(V,) the person in each held-out photograph, as an index of `held_out`."""
    index = {name: number for number, name in enumerate(split.held_out)}
    owners = faces.identities()
    return np.array([index[owners[row]] for row in split.validation])


def balanced_pairs(
    identities: NDArray[np.int64],
    *,
    count: int,
    yaw: NDArray[np.float32] | None = None,
    turned: float = 0,
    seed: int = 0,
) -> Pairs:
    """Draw as many genuine as impostor pairs, balanced over people rather than photographs.

    A person with a hundred photographs has 4,950 genuine pairs and would dominate. So people give
    one pair each in turn, until there are enough or none is left; no genuine pair repeats. For an
    impostor pair two people are drawn, then a photograph of each.

    Args:
        identities: (N,) the person in each of N photographs.
        count: number of pairs, half of them genuine.
        yaw: (N,) degrees of the heads; required if `turned` is not 0.
        turned: smallest difference in yaw, in degrees, between a pair's photographs.
        seed: random seed.

    Raises:
        ValueError: fewer than 2 people, too few pairs for ten folds, or too few pairs with the
            required difference in yaw.
    """
    random = np.random.default_rng(seed)
    order = np.argsort(identities, kind="stable")
    _, starts, counts = np.unique(identities[order], return_index=True, return_counts=True)
    angles = np.zeros(len(order), np.float32) if yaw is None else yaw[order]

    def wanted(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        kept: NDArray[np.int64] = pairs[np.abs(np.diff(angles[pairs], axis=1)[:, 0]) >= turned]
        return kept

    genuine = order[wanted(_genuine(starts, counts, random))[: count // 2]]
    if len(starts) < 2 or 2 * len(genuine) < FOLDS:  # noqa: PLR2004 - impostors need two people
        raise ValueError(f"{len(starts)} people make {len(genuine)} genuine pairs; too few")
    random.shuffle(genuine)
    impostors = np.empty((0, 2), np.int64)
    for _ in range(_DRAWS):
        if len(impostors) < len(genuine):
            more = wanted(_impostors(starts, counts, len(genuine), random))
            impostors = np.concatenate([impostors, more])[: len(genuine)]
    if len(impostors) < len(genuine):
        raise ValueError(f"{_DRAWS} draws give {len(impostors)} impostor pairs; too few")
    impostors = order[impostors]
    # Alternating, so that every fold is balanced.
    rows = np.stack([genuine, impostors], axis=1).reshape(-1, 2)
    same = np.tile([True, False], len(genuine))
    return Pairs(first=rows[:, 0], second=rows[:, 1], same=same, folds=FOLDS)


def _genuine(
    starts: NDArray[np.int64], counts: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """All genuine pairs, (G, 2): the first of each person, then the second, and so on."""
    pairs, turns = [], []
    for start, count in zip(starts, counts, strict=True):
        own = start + np.stack(np.triu_indices(count, 1), axis=1)
        pairs.append(random.permutation(own))
        turns.append(np.arange(len(own)))
    turn = np.concatenate(turns)
    everyone: NDArray[np.int64] = np.concatenate(pairs)
    return everyone[np.lexsort([random.random(len(turn)), turn])]


def _impostors(
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    count: int,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """(count, 2): pairs of photographs of two people."""
    people = len(starts)
    one = random.integers(people, size=count)
    other = (one + random.integers(1, people, size=count)) % people
    who = np.stack([one, other], axis=1)
    return starts[who] + random.integers(counts[who])
