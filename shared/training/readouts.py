"""Find the readouts of maps, and with them how cameras round.

A readout is a ridge regression from the symbols of maps to the embeddings of the faces. Cameras
round towards it, which changes the symbols, so that it is found again from these, and so on: each
time the camera needs fewer moves, and the readout finds more.

Then it is measured how well the pictures of honest maps agree with what the readout finds in them,
since a forged map can speak of another person than it shows.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from shared.codec.compact_map import MapFormat, dequantize, quantize
from shared.evaluation.pipeline import BATCH, crops_of
from shared.evaluation.spoilings import RECOGNIZABLE
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.inference.nuisances import normalised
from shared.inference.readouts import Readout, Readouts
from shared.inference.rounding import Rounding
from shared.model_directory import ModelDirectory, ReadoutConfig
from shared.training.faces import UNLABELLED, Faces

_SHARES, _DISTORTION = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0), 0.004
"""As in `ReadoutConfig`; the best share is found."""
_UNHEARD = 0.005
"""Share of honest maps whose picture and estimate disagree; their pictures count alone."""
_ASKED = 1_000
"""People by two photographs of whom, besides spoilt ones, it is found how readouts are used."""
_AMPLE = 1_112
"""Maps of more symbols have enough of them near the middle between two levels, and move only these:
distortion costs in proportion to their number."""
_FACES = 24_000
_SPOILT = 0.43
"""For every face as it is, so many are spoilt at random."""
_TURNS = (6_000, 6_000, 6_000, 2 * _FACES)
"""How many faces are rounded before the readout is found anew; the last time all of them."""
_RIDGE = 0.02
"""While symbols are the nearest ones."""
_RIDGE_ROUNDED = 0.1
"""Times the number of symbols for one face, when they are rounded towards a readout: far more of
the embedding can be found in them, and the ridge need only prevent that it is learned by heart."""
_SEED = 0

Floats = NDArray[np.float32]


def fit_readouts(
    model: ModelDirectory, faces: Faces, rows: NDArray[np.int64], *, threads: int = 1
) -> Readouts:
    """Readouts of the operating points of the default one's networks that cameras can use.

    Codecs carried from earlier versions get none: their maps give the embeddings that they gave.
    How they are used is found by `fit_uses`; until then, all pictures and estimates agree.

    Args:
        model: its nuisances, if it has any, are already taken off its embeddings.
        faces: the training cache.
        rows: rows of people of training.
        threads: of ONNX Runtime.
    """
    manifest = model.manifest
    owner = manifest.networks_of(manifest.default_point)
    formats = {
        point: manifest.codecs[point].map_format
        for point in manifest.encodable
        if manifest.networks_of(point) == owner
    }
    latents, embeddings = _seen(model, owner, faces, rows, threads=threads)
    uses = {point: _use(fmt) for point, fmt in formats.items()}
    return Readouts(
        {
            point: _fitted(latents, embeddings, fmt, uses[point].distortion)
            for point, fmt in formats.items()
        },
        uses,
    )


def _use(fmt: MapFormat) -> ReadoutConfig:
    distortion = _DISTORTION * max(1, fmt.sent / _AMPLE)
    return ReadoutConfig(share=1, agreement=-1, distortion=distortion)


def fit_uses(
    model: ModelDirectory, faces: Faces, rows: NDArray[np.int64], *, threads: int = 1
) -> Mapping[str, ReadoutConfig]:
    """How a model's readouts are best used: with which `share`, and above which `agreement`.

    Args:
        model: with readouts.
        faces: the training cache.
        rows: rows of people held out: maps of those of training agree better.
        threads: of ONNX Runtime.
    """
    readouts = Readouts.of_model(model)
    assert readouts is not None
    cameras = {point: OnnxCropEncoder(model, point, threads=threads) for point in readouts.uses}
    first = next(iter(cameras.values()))  # all share its networks
    decoder = MapDecoder(model, precision="auto")
    random = np.random.default_rng(_SEED)
    asked = _pairs(faces, rows, random)[:_ASKED].reshape(-1)
    plain: list[NDArray[np.bool_]] = []
    found: defaultdict[str, list[Floats]] = defaultdict(list)
    for crops, spoilt in _some_spoilt(faces, asked, random):
        plain.append(~spoilt)
        latents, embeddings = first.latents(crops), first.embeddings(crops)
        for point, camera in cameras.items():
            symbols = camera.rounded(latents, embeddings)
            # `embed` would add what is read already.
            pictures = decoder.reconstruct([(camera.codec_id, each) for each in symbols])
            seen = decoder.embed_crops(pictures)
            read = readouts.of_points[point].estimate(dequantize(symbols, camera.map_format))
            found[point].append(np.stack([seen, read]))
    unspoilt = np.concatenate(plain)
    best = {}
    for point, use in readouts.uses.items():
        seen, read = np.concatenate(found[point], axis=1)
        best[point] = use.model_copy(update=_best(seen, read, unspoilt))
    return best


def _pairs(faces: Faces, rows: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """(P, 2): two photographs of each person of whom there are so many, in random order."""
    names = faces.identities()
    of_people: defaultdict[str, list[int]] = defaultdict(list)
    for row in random.permutation(rows).tolist():
        of_people[names[row]].append(row)
    of_people.pop(UNLABELLED, None)
    pairs = [found[:2] for found in of_people.values() if len(found) > 1]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _best(seen: Floats, read: Floats, plain: NDArray[np.bool_]) -> dict[str, float]:
    """The best `share` and the `agreement`.

    Args:
        seen: embeddings (N, D) of pictures.
        read: what readouts estimate (N, D).
        plain: (N,) which ones are unspoilt; in order, they are pairs of one person each.
    """

    def separation(share: float) -> float:
        together = normalised(seen[plain] + np.float32(share) * read[plain])[0]
        similar = together[::2] @ together[1::2].T
        mates = np.eye(len(similar), dtype=np.bool_)
        genuine, impostor = similar[mates], similar[~mates]
        spread = np.sqrt(genuine.var() + impostor.var())
        return float((genuine.mean() - impostor.mean()) / spread)

    agreements = np.einsum("nd,nd->n", seen, normalised(read)[0])
    agreement = round(float(np.quantile(agreements, _UNHEARD)), 2)
    return {"share": max(_SHARES, key=separation), "agreement": agreement}


def _some_spoilt(
    faces: Faces, rows: NDArray[np.int64], random: np.random.Generator
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Batches of crops (N, 112, 96, 3), some of them once more, spoilt; and which are (N,)."""
    for batch in faces.batches(rows, BATCH):
        some = batch[: round(_SPOILT * len(batch))]
        crops = crops_of(np.concatenate([batch, _spoilt(some, random)]))
        yield crops, np.arange(len(crops)) >= len(batch)


def _seen(
    model: ModelDirectory, point: str, faces: Faces, rows: NDArray[np.int64], *, threads: int
) -> tuple[NDArray[np.float16], Floats]:
    """CompNet's output (N, C, H, W) and the embeddings (N, D) of faces, some of them spoilt."""
    encoder = OnnxCropEncoder(model, point, threads=threads)
    decoder = MapDecoder(model, precision="auto")
    latents, embeddings = [], []
    random = np.random.default_rng(_SEED)
    drawn = random.permutation(rows)[:_FACES]
    for crops, _ in _some_spoilt(faces, drawn, random):
        latents.append(encoder.latents(crops).astype(np.float16))
        embeddings.append(decoder.embed_crops(crops))
    return np.concatenate(latents), np.concatenate(embeddings)


def _spoilt(pictures: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    ways = list(RECOGNIZABLE.values())
    drawn = [ways[random.integers(len(ways))].draw(each, random) for each in pictures]
    return np.array(drawn, np.uint8).reshape(pictures.shape)


def _fitted(
    latents: NDArray[np.float16], embeddings: Floats, fmt: MapFormat, distortion: float
) -> Readout:
    moments = _Moments(fmt, embeddings.shape[1])
    for start in range(0, len(latents), BATCH):
        symbols = quantize(latents[start : start + BATCH].astype(np.float32), fmt.levels)
        moments.add(symbols, embeddings[start : start + BATCH])
    readout = moments.regression(_RIDGE)
    for count in _TURNS:
        rounding = Rounding(readout, fmt, distortion=distortion)
        moments = _Moments(fmt, embeddings.shape[1])
        for start in range(0, min(count, len(latents)), BATCH):
            batch = latents[start : start + BATCH].astype(np.float32)
            wanted = embeddings[start : start + BATCH]
            moments.add(rounding.symbols(batch, wanted), wanted)
        readout = moments.regression(_RIDGE_ROUNDED * fmt.sent / min(count, len(latents)))
    return readout


class _Moments:
    """Sums over faces, of which a regression is made."""

    def __init__(self, fmt: MapFormat, size: int) -> None:
        self._fmt = fmt
        self._count = 0
        self._mean_seen, self._mean_wanted = np.zeros(fmt.sent), np.zeros(size)
        self._among, self._across = np.zeros((fmt.sent, fmt.sent)), np.zeros((fmt.sent, size))

    def add(self, symbols: NDArray[np.uint8], wanted: Floats) -> None:
        """Count N faces by their symbols (N, C, H, W) and embeddings (N, D)."""
        seen = dequantize(symbols, self._fmt).reshape(len(symbols), -1)[:, : self._fmt.sent]
        self._count += len(seen)
        self._mean_seen += seen.sum(0)
        self._mean_wanted += wanted.sum(0)
        self._among += seen.T @ seen
        self._across += seen.T @ wanted

    def regression(self, ridge: float) -> Readout:
        """From the symbols that are sent to the embedding."""
        mean = self._mean_seen / self._count
        among = self._among / self._count - np.outer(mean, mean)
        across = self._across / self._count - np.outer(mean, self._mean_wanted / self._count)
        weight = np.linalg.solve(among + ridge * np.eye(len(mean)), across)
        bias = self._mean_wanted / self._count - mean @ weight
        return Readout(weight.astype(np.float32), bias.astype(np.float32))
