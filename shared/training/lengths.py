"""How long embeddings are before they are normalised.

The less an extractor is sure of a face, the shorter is its embedding: nothing in it points far in
any direction. Meng et al. ("MagFace", 2021) train for that; here it comes by itself.
"""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from shared.codec.compact_map import dequantize
from shared.evaluation.cache import NO_CACHE, Cache, pixels_digest
from shared.evaluation.pipeline import BATCH, Progress, no_progress
from shared.evaluation.weights import weights_sha256
from shared.inference.device import arithmetic
from shared.inference.networks import load_extractor, load_recnet
from shared.model_directory import ModelDirectory, Sphere20Config


def embedding_lengths(
    model: ModelDirectory,
    point: str,
    symbols: NDArray[np.uint8],
    *,
    cache: Cache = NO_CACHE,
    progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """(N,) lengths of the embeddings of N maps; all 1 for an imported extractor.

    Args:
        model: a verified model directory.
        point: operating point of the maps.
        symbols: (N, C, 14, 12) symbols of maps.
        cache: keeps the lengths of batches.
        progress: called for every batch.
    """
    if not isinstance(model.manifest.extractor, Sphere20Config):
        return np.ones(len(symbols), np.float32)
    device = torch.device("cpu")
    dtype = arithmetic(device, "auto")
    recnet = load_recnet(model, point, device).to(dtype)
    extractor = load_extractor(model, device).network.to(dtype)
    fmt = model.codec(point).map_format

    @torch.inference_mode()
    def measured(batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        faces = recnet(torch.from_numpy(dequantize(batch, fmt)).to(dtype))
        return {"lengths": extractor(faces).float().norm(dim=1).numpy()}

    weights = weights_sha256(model, point)
    parts = []
    for start in range(0, len(symbols), BATCH):
        batch = symbols[start : start + BATCH]
        key = {"lengths": weights, "point": point, "symbols": pixels_digest(batch)}
        parts.append(cache.arrays(key, partial(measured, batch))["lengths"])
        progress(start + len(batch), len(symbols))
    return np.concatenate(parts)
