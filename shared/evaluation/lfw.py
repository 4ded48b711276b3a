"""Labeled Faces in the Wild: the test that no choice may be made on.

Source: Huang, Ramesh, Berg, Learned-Miller, "Labeled Faces in the Wild", 2007.
"""

import time
from pathlib import Path

import numpy as np

from shared.evaluation.lfw_files import Pair, open_lfw
from shared.evaluation.pipeline import Pipeline, Progress, no_progress
from shared.evaluation.protocol import Pairs
from shared.evaluation.result import Result, score_result
from shared.model_directory import ModelDirectory

FOLDS = 10


def evaluate_lfw(
    model: ModelDirectory,
    point: str | None,
    data: Path,
    *,
    folds: int = FOLDS,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Result:
    """LFW's verification protocol through the product's own code.

    Args:
        model: a verified model directory.
        point: operating point; None takes the default.
        data: folder that holds `lfw112/lfw.zip` and `lfw112/pairs.txt`.
        folds: how many of the ten to take, the first ones. All ten encode all 13,233 images,
            so that the mean size is that of the whole set; fewer encode only the images that
            occur in their pairs.
        threads: of ONNX Runtime.
        progress: is told of every batch.

    Raises:
        FailedPrecondition: EVALUATION_DATA_MISSING.
        InvalidInput: a file is not what it should be.
    """
    began = time.perf_counter()
    with open_lfw(data) as files:
        chosen = [pair for fold in files.folds[:folds] for pair in fold]
        names = files.names if folds >= len(files.folds) else _images_of(chosen)
        pipeline = Pipeline(model, point, threads=threads)
        batches = files.batches(names)
        embedded = pipeline.embed(batches, total=len(names), progress=progress)
        pairs = _rows_of(chosen, names, folds=min(folds, len(files.folds)))
    seconds = time.perf_counter() - began
    return score_result(model, point, embedded, pairs, dataset="lfw", seconds=seconds)


def _images_of(pairs: list[Pair]) -> list[str]:
    return sorted({name for pair in pairs for name in (pair.first, pair.second)})


def _rows_of(pairs: list[Pair], names: list[str], *, folds: int) -> Pairs:
    row = {name: index for index, name in enumerate(names)}
    return Pairs(
        first=np.array([row[pair.first] for pair in pairs]),
        second=np.array([row[pair.second] for pair in pairs]),
        same=np.array([pair.same for pair in pairs]),
        folds=folds,
    )
