"""Find what maps say of faces beyond the pictures drawn from them.

A ridge regression estimates the embedding of the uncompressed face from the symbols of its map. It
is linear, since a network with a hidden layer learns by heart where the extractor puts the people
that both were trained on, and strangers then resemble one another. Some maps are of spoilt
pictures: what spoils them then says nothing of the face.
"""

import numpy as np
from numpy.typing import NDArray

from shared.codec.compact_map import dequantize, quantize
from shared.evaluation.pipeline import BATCH, crops_of
from shared.evaluation.spoilings import RECOGNIZABLE
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.inference.readouts import Readouts
from shared.model_directory import ModelDirectory
from shared.training.faces import Faces

_SHARE = 0.6
"""Of the estimate, which is shorter than 1, in the sum with the embedding of the picture."""
_FACES = 40_000
_SPOILT = 0.43
"""For every face as it is, so many are spoilt at random."""
_RIDGE = 0.02
_SEED = 0


def fit_readouts(
    model: ModelDirectory, faces: Faces, rows: NDArray[np.int64], *, threads: int = 1
) -> Readouts:
    """Readouts of all operating points that share the networks of the default one.

    Codecs carried from earlier versions get none: their maps give the embeddings that they gave.

    Args:
        model: its nuisances, if it has any, are already taken off its embeddings.
        faces: the training cache.
        rows: rows of people of training.
        threads: of ONNX Runtime.
    """
    manifest = model.manifest
    owner = manifest.networks_of(manifest.default_point)
    points = {
        point: codec.map_format.sent
        for point, codec in manifest.codecs.items()
        if manifest.networks_of(point) == owner
    }
    # A smaller map is a prefix of a larger one, and so are its moments.
    widest = max(points, key=lambda point: points[point])
    encoder = OnnxCropEncoder(model, widest, threads=threads)
    decoder = MapDecoder(model, precision="auto")
    fmt = manifest.codecs[widest].map_format
    moments = _Moments(points[widest], decoder.embedding_size)
    drawn = np.random.default_rng(_SEED).permutation(rows)[:_FACES]
    random = np.random.default_rng(_SEED)
    for batch in faces.batches(np.sort(drawn), BATCH):
        wanted = decoder.embed_crops(crops_of(batch))
        some = batch[: round(_SPOILT * len(batch))]
        crops = crops_of(np.concatenate([batch, _spoilt(some, random)]))
        symbols = np.stack([quantize(each, fmt.levels) for each in encoder.latents(crops)])
        latents = dequantize(symbols, fmt).reshape(len(crops), -1)[:, : points[widest]]
        moments.add(latents, np.concatenate([wanted, wanted[: len(some)]]))
    return Readouts({point: moments.regression(sent) for point, sent in points.items()})


def _spoilt(pictures: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    ways = list(RECOGNIZABLE.values())
    drawn = [ways[random.integers(len(ways))].draw(each, random) for each in pictures]
    return np.array(drawn, np.uint8).reshape(pictures.shape)


class _Moments:
    """Sums over faces, of which a regression is made."""

    def __init__(self, symbols: int, size: int) -> None:
        self._count = 0
        self._mean_seen, self._mean_wanted = np.zeros(symbols), np.zeros(size)
        self._among, self._across = np.zeros((symbols, symbols)), np.zeros((symbols, size))

    def add(self, seen: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
        """Count N faces by their symbols (N, S) and embeddings (N, D)."""
        self._count += len(seen)
        self._mean_seen += seen.sum(0)
        self._mean_wanted += wanted.sum(0)
        self._among += seen.T @ seen
        self._across += seen.T @ wanted

    def regression(self, sent: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights and bias of the share of the estimate, from the first `sent` symbols."""
        mean = self._mean_seen[:sent] / self._count
        among = self._among[:sent, :sent] / self._count - np.outer(mean, mean)
        across = self._across[:sent] / self._count - np.outer(mean, self._mean_wanted / self._count)
        weight = _SHARE * np.linalg.solve(among + _RIDGE * np.eye(sent), across)
        return weight.astype(np.float32), (-mean @ weight).astype(np.float32)
