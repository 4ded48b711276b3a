"""A codec over many crops, on all cores."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.conventional.codec import Codec, Picture
from shared.evaluation.conventional.search import Compressed, Measure, compress_to

# Crops that a process is handed at once: seconds of work, next to which the hand-over is nothing.
_CHUNK = 8


def compress_all(
    codec: Codec,
    crops: Sequence[Picture] | NDArray[np.uint8],
    target_bytes: int,
    *,
    measure: Measure,
    workers: int,
) -> list[Compressed]:
    """`compress_to` for every crop, in processes of their own.

    Args:
        codec: any.
        crops: (N, 112, 96, 3) RGB, at least one.
        target_bytes: the most that each may take.
        measure: which bytes count.
        workers: processes.
    """
    compress = partial(compress_to, codec, target_bytes=target_bytes, measure=measure)
    # Spawned, because a fork would inherit the locks of whatever threads run here.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(compress, crops, chunksize=_CHUNK))
