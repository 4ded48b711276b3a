"""Decode compact maps to crops and embeddings, as the recognizer does."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.codec.compact_map import MapFormat, dequantize, unpack
from shared.errors import UnknownCodec
from shared.inference.device import Precision, arithmetic, open_device
from shared.inference.extractor import open_extractor
from shared.inference.fixed_sizes import SIZES, Run
from shared.inference.networks import load_recnet, without_python
from shared.inference.nuisances import Nuisances, finished
from shared.inference.pixels import to_network, to_pixels
from shared.inference.readouts import Readouts
from shared.model_directory import RECNET_FILE, ModelDirectory

Symbols = NDArray[np.uint8]
"""(C, 14, 12) in [0, L-1]."""

CodedMap = tuple[str, Symbols]
"""A codec id and the symbols of one map."""

# Bounds memory for long lists; larger batches are no faster.
MAX_BATCH = 64


class MapDecoder:
    """The RecNets of all codecs of a model and its extractor; thread-safe.

    Results do not depend on the rest of the batch, except for rounding (below 1e-5 in float32).

    Attributes:
        model: the model directory it was loaded from.
        device: name of the torch device.
        precision: as given.
        formats: map formats by codec id, of all codecs it decodes.
    """

    def __init__(
        self, model: ModelDirectory, *, device: str = "cpu", precision: Precision = "float32"
    ) -> None:
        """Load the networks.

        Args:
            model: a verified model directory.
            device: "cpu" or "cuda".
            precision: number format of RecNets and our own extractors.

        Raises:
            FailedPrecondition: DEVICE_MISSING; torch sees no such GPU.
        """
        self.model = model
        self.device = device
        self.precision = precision
        self._device = open_device(device)
        self._dtype = arithmetic(self._device, precision)
        if self._device.type == "cuda":
            # TF32 on a GPU would deviate from embeddings enrolled on a CPU.
            torch.backends.cudnn.allow_tf32 = False
        codecs = model.manifest.codecs
        self.formats: dict[str, MapFormat] = {c.codec_id: c.map_format for c in codecs.values()}
        self._recnets = self._load_recnets()
        self._extractor = open_extractor(model, self._device, self._dtype)
        self._nuisances = Nuisances.of_model(model)
        self._readouts = Readouts.of_model(model)
        self._read_points = {codecs[p].codec_id: p for p in model.manifest.readouts}

    @property
    def arithmetic(self) -> str:
        """The number format that `precision` comes to on this machine, e.g. "bfloat16"."""
        return str(self._dtype).removeprefix("torch.")

    @property
    def embedding_space(self) -> str:
        """Id of the embedding space; only embeddings of equal spaces are comparable."""
        return self.model.manifest.embedding_space

    @property
    def embedding_size(self) -> int:
        """Numbers in an embedding."""
        return self.model.manifest.extractor.embedding_size

    def unpack(self, codec_id: str, png: bytes) -> Symbols:
        """Read the symbols of a map's PNG file.

        Raises:
            UnknownCodec: the model has no such codec.
            InvalidCompactMap: not a legal PNG of the codec.
        """
        return unpack(png, self._format(codec_id))

    def embed(self, maps: Sequence[CodedMap]) -> NDArray[np.float32]:
        """Embed N maps, of any mix of codecs, as unit vectors (N, D).

        Raises:
            UnknownCodec: the model lacks one of the codecs.
        """
        return self.embed_with_lengths(maps)[0]

    def embed_with_lengths(
        self, maps: Sequence[CodedMap]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What `embed` returns for N maps, and how long each picture's embedding was (N,).

        The less the extractor is sure of a face, the shorter; 1 where it does not tell.
        """
        batches = [self._extractor.embed(self._decode(batch)) for batch in _batches(maps)]
        return self._finished_maps(maps, batches)

    def embed_crops(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed N uncompressed crops as unit vectors (N, D).

        Args:
            crops: (N, 112, 96, 3) RGB in [0, 255].
        """
        normalisation = self.model.manifest.normalisation
        batches = [
            self._extractor.embed(
                self._tensor(to_network(crops[start : start + MAX_BATCH], normalisation))
            )
            for start in range(0, len(crops), MAX_BATCH)
        ]
        return self._finished(batches)[0]

    def reconstruct(self, maps: Sequence[CodedMap]) -> NDArray[np.uint8]:
        """Reconstruct the crops (N, 112, 96, 3), RGB in [0, 255], clipped for display.

        Raises:
            UnknownCodec: the model lacks one of the codecs.
        """
        normalisation = self.model.manifest.normalisation
        batches = [
            to_pixels(self._decode(batch).cpu().numpy(), normalisation) for batch in _batches(maps)
        ]
        template = self.model.manifest.alignment
        none = np.empty((0, template.height, template.width, 3), np.uint8)
        return np.concatenate(batches or [none])

    def embed_and_reconstruct(
        self, maps: Sequence[CodedMap]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """What `embed` and `reconstruct` return for N maps, at least one; decoded only once."""
        vectors, crops = [], []
        for batch in _batches(maps):
            decoded = self._decode(batch)
            vectors.append(self._extractor.embed(decoded))
            crops.append(to_pixels(decoded.cpu().numpy(), self.model.manifest.normalisation))
        return self._finished_maps(maps, vectors)[0], np.concatenate(crops)

    def _finished_maps(
        self, maps: Sequence[CodedMap], batches: Sequence[NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What `_finished` returns, with what the maps themselves add."""
        vectors, lengths = self._finished(batches)
        if self._readouts:
            for codec_id, rows in _rows_by_codec(maps).items():
                if point := self._read_points.get(codec_id):
                    latents = self._latents(maps, codec_id, rows)
                    vectors[rows] = self._readouts.added_to(vectors[rows], latents, point)
        return vectors, lengths

    def _finished(
        self, batches: Sequence[NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Batches of the extractor's answers -> unit vectors and the lengths of the answers."""
        return finished(np.concatenate(batches or [self._no_embeddings]), self._nuisances)

    def warm_up(self, batch_sizes: Sequence[int] = ()) -> None:
        """Run every network once per batch size, so that no request pays for first use.

        Args:
            batch_sizes: none: 1 and 8, or all that a GPU prepares for.
        """
        batch_sizes = batch_sizes or (SIZES if self._device.type == "cuda" else (1, 8))
        one_each = {recnet: codec_id for codec_id, recnet in self._recnets.items()}
        for codec_id in one_each.values():
            blank = np.zeros(self.formats[codec_id].shape, np.uint8)
            for size in batch_sizes:
                self.embed([(codec_id, blank)] * size)

    def _load_recnets(self) -> dict[str, Run]:
        """RecNets by codec id; codecs that share a file share the network and its batches."""
        by_file: dict[Path, Run] = {}
        recnets = {}
        for point, codec in self.model.manifest.codecs.items():
            file = self.model.codec_path(point, RECNET_FILE)
            if file not in by_file:
                network = load_recnet(self.model, point, self._device).to(self._dtype)
                by_file[file] = without_python(network, codec.map_format.shape)
            recnets[codec.codec_id] = by_file[file]
        return recnets

    @torch.inference_mode()
    def _decode(self, maps: Sequence[CodedMap]) -> Tensor:
        """N maps -> (N, 3, 112, 96), nominally in [-1, 1] and not clipped."""
        rows_of = _rows_by_codec(maps)
        for codec_id in rows_of:
            self._format(codec_id)
        codecs_of: defaultdict[Run, list[str]] = defaultdict(list)
        for codec_id in rows_of:
            codecs_of[self._recnets[codec_id]].append(codec_id)
        template = self.model.manifest.alignment
        crops = torch.empty(
            (len(maps), 3, template.height, template.width),
            device=self._device,
            memory_format=torch.channels_last,
        )
        for recnet, codecs in codecs_of.items():
            rows = [row for codec_id in codecs for row in rows_of[codec_id]]
            latents = [self._latents(maps, codec_id, rows_of[codec_id]) for codec_id in codecs]
            batch = self._tensor(np.concatenate(latents))
            crops[rows] = recnet(batch.to(self._dtype)).float()
        return crops

    def _latents(
        self, maps: Sequence[CodedMap], codec_id: str, rows: list[int]
    ) -> NDArray[np.float32]:
        """The dequantized maps in some rows, all of one codec."""
        return dequantize(np.stack([maps[row][1] for row in rows]), self.formats[codec_id])

    def _format(self, codec_id: str) -> MapFormat:
        if codec_id not in self.formats:
            raise UnknownCodec(codec_id, list(self.formats))
        return self.formats[codec_id]

    def _tensor(self, array: NDArray[np.float32]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()  # copied while the host goes on
        return tensor.to(self._device, non_blocking=True, memory_format=torch.channels_last)

    @property
    def _no_embeddings(self) -> NDArray[np.float32]:
        return np.empty((0, self.embedding_size), np.float32)


def _rows_by_codec(maps: Sequence[CodedMap]) -> Mapping[str, list[int]]:
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, (codec_id, _) in enumerate(maps):
        rows[codec_id].append(row)
    return rows


def _batches(maps: Sequence[CodedMap]) -> Iterator[Sequence[CodedMap]]:
    return (maps[start : start + MAX_BATCH] for start in range(0, len(maps), MAX_BATCH))
