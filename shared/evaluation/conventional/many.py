"""Compress many crops on all cores."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.conventional.codec import Codec, Picture
from shared.evaluation.conventional.search import Compressed, Measure, compress_to

# Crops per task: seconds of work, so that the transfer between processes does not matter.
_CHUNK = 8


def compress_all(
    codec: Codec,
    crops: Sequence[Picture] | NDArray[np.uint8],
    target_bytes: int,
    *,
    measure: Measure,
    workers: int,
) -> list[Compressed]:
    """Apply `compress_to` to every crop, in worker processes.

    Args:
        codec: a codec.
        crops: (N, 112, 96, 3) RGB, at least one.
        target_bytes: size limit per crop.
        measure: which bytes count.
        workers: number of processes.
    """
    compress = partial(compress_to, codec, target_bytes=target_bytes, measure=measure)
    # Spawned, since a fork would inherit locks held by other threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(compress, crops, chunksize=_CHUNK))
