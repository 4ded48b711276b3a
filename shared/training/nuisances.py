"""Find what all embeddings have in common, and what spoilt pictures add to them.

People of training are coded as they are and spoilt at random in every way that leaves a face to
recognize. How far a way of spoiling moves embeddings on average says nothing of anybody.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.coded import Coder
from shared.evaluation.pipeline import BATCH
from shared.evaluation.spoilings import RECOGNIZABLE
from shared.inference.nuisances import Nuisances, Vectors
from shared.model_directory import ModelDirectory
from shared.training.faces import Faces

DIRECTIONS = 5
_FACES, _SPOILT_FACES = 4096, 640
_SEED = 4


def fit_nuisances(
    model: ModelDirectory,
    faces: Faces,
    rows: NDArray[np.int64],
    *,
    threads: int = 1,
) -> Nuisances:
    """The mean of unit embeddings, and the main directions in which spoiling moves them.

    Args:
        model: its default operating point codes the faces; it has no nuisances yet.
        faces: the training cache.
        rows: rows of people of training.
        threads: of ONNX Runtime.
    """
    coder = Coder(model, threads=threads)
    drawn = np.random.default_rng(_SEED).permutation(rows)[:_FACES]
    plain, spoilt = np.sort(drawn), np.sort(drawn[:_SPOILT_FACES])

    def mean(batches: Iterator[NDArray[np.uint8]]) -> Vectors:
        found: Vectors = coder.code(batches).vectors.mean(0)
        return found

    usual = mean(faces.batches(plain, BATCH))
    unspoilt = mean(faces.batches(spoilt, BATCH))
    moves = [
        mean(_spoilt(faces, spoilt, name, number)) - unspoilt
        for number, name in enumerate(RECOGNIZABLE)
    ]
    _, _, directions = np.linalg.svd(np.stack(moves), full_matrices=False)
    return Nuisances(usual, directions[:DIRECTIONS].astype(np.float32))


def _spoilt(
    faces: Faces, rows: NDArray[np.int64], name: str, number: int
) -> Iterator[NDArray[np.uint8]]:
    """The faces spoilt one way, each by a draw of its own."""
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        yield np.stack(
            [
                RECOGNIZABLE[name].draw(
                    faces.pixels[row], np.random.default_rng([_SEED, number, int(row)])
                )
                for row in batch
            ]
        )
