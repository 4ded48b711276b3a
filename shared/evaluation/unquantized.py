"""The cost of rounding: RecNet on CompNet's unrounded output (the paper's table 2).

There are no readouts here: it is by rounding that cameras write embeddings into maps.
"""

from collections.abc import Iterable
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from shared.evaluation.cache import NO_CACHE, Cache, pixels_digest
from shared.evaluation.pipeline import Faces, Progress, Vectors, crops_of
from shared.evaluation.weights import weights_sha256
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.extractor import open_extractor
from shared.inference.networks import load_recnet
from shared.inference.nuisances import Nuisances, finished
from shared.model_directory import ModelDirectory

_CPU = torch.device("cpu")


class UnquantizedPipeline:
    """One operating point's networks, without rounding and without a file."""

    def __init__(
        self, model: ModelDirectory, point: str, *, threads: int = 1, cache: Cache = NO_CACHE
    ) -> None:
        self._encoder = OnnxCropEncoder(model, point, threads=threads)
        self._recnet = load_recnet(model, point, _CPU)
        self._extractor = open_extractor(model, _CPU)
        self._nuisances = Nuisances.of_model(model)
        self._cache = cache
        self._key: dict[str, JsonValue] = {
            "software": version("compactface"),
            "unquantized": weights_sha256(model, point),
            "codec": model.codec(point).codec_id,  # points may share networks
            "space": model.manifest.embedding_space,
        }

    def embed(self, batches: Iterable[Faces], *, total: int, progress: Progress) -> Vectors:
        """(N, D) unit vectors of batches of faces, `total` in all."""
        parts: list[Vectors] = []
        done = 0
        for faces in batches:
            parts.append(self._embed_batch(crops_of(faces)))
            done += len(faces)
            progress(done, total)
        return np.concatenate(parts)

    def _embed_batch(self, crops: NDArray[np.uint8]) -> Vectors:
        key = {**self._key, "crops": pixels_digest(crops)}
        return self._cache.arrays(key, lambda: {"vectors": self._embed_crops(crops)})["vectors"]

    @torch.inference_mode()
    def _embed_crops(self, crops: NDArray[np.uint8]) -> Vectors:
        latents = torch.from_numpy(self._encoder.latents(crops))
        if spared := self._encoder.map_format.spared:
            latents.flatten(1)[:, -spared:] = 0
        pictures = self._recnet(latents.to(memory_format=torch.channels_last))
        return finished(self._extractor.embed(pictures), self._nuisances)[0]
