"""Labeled Faces in the Wild: the test set. No choice is made on it.

Source: Huang, Ramesh, Berg, Learned-Miller, "Labeled Faces in the Wild", 2007.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.lfw_files import LfwFiles, Pair, open_lfw
from shared.evaluation.pipeline import Embedded, Pipeline, Progress, no_progress
from shared.evaluation.protocol import Pairs
from shared.evaluation.result import Result, score_result
from shared.model_directory import ModelDirectory

FOLDS = 10


@dataclass(frozen=True, slots=True)
class Lfw:
    """Photographs of LFW, or of its first folds, in every form.

    Attributes:
        names: names of N photographs, sorted, `Name/Name_0001.jpg`.
        pairs: the protocol's pairs, as rows of `names`.
        embedded: embeddings of the photographs.
    """

    names: list[str]
    pairs: Pairs
    embedded: Embedded

    @property
    def people(self) -> NDArray[np.int64]:
        """(N,) the person in each photograph, numbered in the order of names."""
        _, numbers = np.unique([name.split("/")[0] for name in self.names], return_inverse=True)
        return numbers


def evaluate_lfw(
    model: ModelDirectory,
    pipeline: Pipeline,
    data: Path,
    *,
    folds: int = FOLDS,
    progress: Progress = no_progress,
) -> tuple[Result, Lfw]:
    """Run LFW's verification protocol on the product's own code.

    Args:
        model: a verified model directory.
        pipeline: pipeline of this model.
        data: folder that holds `lfw112/lfw.zip` and `lfw112/pairs.txt`.
        folds: number of folds to use, from the first. All ten encode all 13,233 images, so that
            the mean size is that of the whole set; fewer encode only the images in their pairs.
        progress: called after every batch.

    Raises:
        FailedPrecondition: EVALUATION_DATA_MISSING.
        InvalidInput: a file is malformed.
    """
    began = time.perf_counter()
    with open_lfw(data) as files:
        faces = embed_lfw(pipeline, files, folds=folds, progress=progress)
    seconds = time.perf_counter() - began
    result = score_result(model, faces.embedded, faces.pairs, dataset="lfw", seconds=seconds)
    return result, faces


def embed_lfw(
    pipeline: Pipeline, files: LfwFiles, *, folds: int = FOLDS, progress: Progress = no_progress
) -> Lfw:
    """Embed the photographs of the first folds; ten folds mean all photographs."""
    chosen = [pair for fold in files.folds[:folds] for pair in fold]
    names = files.names if folds >= len(files.folds) else images_of(chosen)
    embedded = pipeline.embed(files.batches(names), total=len(names), progress=progress)
    return Lfw(names, rows_of(chosen, names, folds=min(folds, len(files.folds))), embedded)


def images_of(pairs: list[Pair]) -> list[str]:
    """The names of all images in the pairs, sorted."""
    return sorted({name for pair in pairs for name in (pair.first, pair.second)})


def rows_of(pairs: list[Pair], names: list[str], *, folds: int) -> Pairs:
    """Convert pairs of names to rows of `names`."""
    row = {name: index for index, name in enumerate(names)}
    return Pairs(
        first=np.array([row[pair.first] for pair in pairs]),
        second=np.array([row[pair.second] for pair in pairs]),
        same=np.array([pair.same for pair in pairs]),
        folds=folds,
    )
