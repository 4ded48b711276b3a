"""Switches a running service to the current model while the previous one keeps serving."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from recognizer_service.core.networks import Networks
from recognizer_service.core.recognizer import Recognizer
from recognizer_service.gallery.reembed import CodedPng, MapEmbedder, Progress
from shared.errors import FailedPrecondition, InvalidModel, UnknownCodec
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory, current_version
from shared.model_directory.load import MANIFEST_FILE
from shared.serving.background import Background
from shared.threads import in_thread_of


def model_of_space(beside: ModelDirectory, space: str) -> ModelDirectory | None:
    """Return a version whose extractor embeds in a space; None if there is none."""
    found = (model for model in _readable(beside) if model.manifest.embedding_space == space)
    return next(found, None)


def model_of_codec(beside: ModelDirectory, codec_id: str) -> ModelDirectory | None:
    """Return a version that decodes a codec to a model's crops; None if there is none."""
    for model in _readable(beside):
        codec_ids = {codec.codec_id for codec in model.manifest.codecs.values()}
        if codec_id in codec_ids and model.manifest.alignment == beside.manifest.alignment:
            return model
    return None


def _readable(beside: ModelDirectory) -> Iterator[ModelDirectory]:
    """Yield all versions in a model's folder, and signed as it is, skipping damaged ones."""
    models = beside.path.parents[1]
    for path in sorted(models.glob(f"*/*/{MANIFEST_FILE}")):
        family, version = path.parts[-3:-1]
        try:
            yield ModelDirectory.load(models, family, version, signer=beside.signer)
        except InvalidModel:
            continue


class CrossCodecEmbedder:
    """Embeds maps of every codec that any version in the model directory can decode.

    Maps of the model's own codecs go straight through its networks. Other maps are reconstructed to
    pixels by the RecNet of the version that has their codec, and the pixels are embedded.
    """

    def __init__(self, decoder: MapDecoder) -> None:
        """Create an embedder; other versions' networks are loaded on demand.

        Args:
            decoder: the model whose extractor embeds.
        """
        self._decoder = decoder
        self._by_codec = dict.fromkeys(decoder.formats, decoder)

    @property
    def embedding_space(self) -> str:
        """Embedding space of the model's extractor."""
        return self._decoder.embedding_space

    @property
    def embedding_size(self) -> int:
        """Dimension of the embeddings."""
        return self._decoder.embedding_size

    def require(self, codec_ids: Iterable[str]) -> None:
        """Load the decoders of these codecs.

        Raises:
            UnknownCodec: no version of any family has one of them.
        """
        for codec_id in codec_ids:
            self._decoder_of(codec_id)

    def check(self, codec_id: str, png: bytes) -> None:
        """Check that a map can be decoded; its codec must be loaded.

        Raises:
            InvalidCompactMap: not a legal PNG of its codec.
        """
        if decoder := self._by_codec.get(codec_id):
            decoder.unpack(codec_id, png)

    def embed(self, maps: Sequence[CodedPng]) -> NDArray[np.float32]:
        """Return unit vectors (N, D) of N maps.

        Raises:
            UnknownCodec: no version of any family has one of the codecs.
            InvalidCompactMap: not a legal PNG of its codec.
        """
        rows_of: defaultdict[str, list[int]] = defaultdict(list)
        for row, (codec_id, _) in enumerate(maps):
            rows_of[codec_id].append(row)
        embeddings = np.empty((len(maps), self._decoder.embedding_size), np.float32)
        for codec_id, rows in rows_of.items():
            embeddings[rows] = self._embed(codec_id, [maps[row][1] for row in rows])
        return embeddings

    def _embed(self, codec_id: str, pngs: Sequence[bytes]) -> NDArray[np.float32]:
        decoder = self._decoder_of(codec_id)
        maps = [(codec_id, decoder.unpack(codec_id, png)) for png in pngs]
        if decoder is self._decoder:
            return decoder.embed(maps)
        return self._decoder.embed_crops(decoder.reconstruct(maps))

    def _decoder_of(self, codec_id: str) -> MapDecoder:
        if codec_id not in self._by_codec:
            ours = self._decoder
            model = model_of_codec(ours.model, codec_id)
            if model is None:
                raise UnknownCodec(codec_id, sorted(self._by_codec))
            decoder = MapDecoder(model, device=ours.device, precision=ours.precision)
            self._by_codec = dict.fromkeys(decoder.formats, decoder) | self._by_codec
        return self._by_codec[codec_id]


_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """Progress of a changeover.

    Attributes:
        progress: progress of the re-embedding.
        done: whether the current model serves.
    """

    progress: Progress
    done: bool


class Changeover:
    """Re-embeds the gallery for the current model, then switches to that model.

    Runs in its own thread, batch by batch; each batch is durable. The gallery's own threads stay
    free for searches.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        models: Path,
        family: str,
        open_networks: Callable[[ModelDirectory], Networks],
        background: Background,
    ) -> None:
        """Create a changeover; `begin` or `ask` starts it.

        Args:
            recognizer: what to switch.
            models: folder of model families.
            family: the family to serve.
            open_networks: creates the networks of a model, not yet started.
            background: runs the work.
        """
        self._recognizer = recognizer
        self._models = models
        self._family = family
        self._open_networks = open_networks
        self._background = background
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="changeover")
        self._in_thread = in_thread_of(self._executor)
        self._task: asyncio.Task[None] | None = None
        self._progress = Progress(0, 0)
        self._closing = False

    @property
    def running(self) -> bool:
        """Whether a changeover is in progress."""
        return self._task is not None and not self._task.done()

    @property
    def progress(self) -> Progress:
        """Progress of the latest changeover of this process."""
        return self._progress

    def begin(self) -> None:
        """Start in the background. After a failure the old model serves until `ask` restarts."""
        self._task = self._background.start("changeover", self._change_over())

    async def ask(self) -> Status:
        """Return the progress; start unless it is running or the current model serves.

        Raises:
            CompactfaceError: the last attempt failed. Each failure is raised once.
        """
        if self._task is not None and self._task.done():
            finished, self._task = self._task, None
            finished.result()
        if self._task is None:
            served = await self._recognizer.in_thread(self._measure)
            if self._is_served(current_version(self._models, self._family)):
                return Status(served, done=True)
            self._progress = Progress(0, served.faces_total)
            self.begin()
        return Status(self._progress, done=False)

    async def close(self) -> None:
        """Stop after the current batch; finished batches are kept."""
        self._closing = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)  # already logged
        self._executor.shutdown()

    def _is_served(self, version: str) -> bool:
        manifest = self._recognizer.decoder.model.manifest
        return (manifest.family, manifest.version) == (self._family, version)

    async def _change_over(self) -> None:
        signer = self._recognizer.decoder.model.signer
        load = partial(ModelDirectory.load, self._models, self._family, signer=signer)
        model = await self._in_thread(load)
        networks = await self._in_thread(self._open_networks, model)
        _log.info("changeover_begun", version=model.manifest.version, space=networks.space)
        await self._in_thread(networks.decoder.warm_up)
        embedder = CrossCodecEmbedder(networks.decoder)
        networks.start()
        try:
            while not await self._fill_and_serve(embedder, networks):
                pass
        finally:
            if self._recognizer.model.networks is not networks:
                await networks.close()

    async def _fill_and_serve(self, embedder: MapEmbedder, networks: Networks) -> bool:
        """Return whether nothing is left; False if faces were enrolled in the meantime."""
        steps = self._recognizer.gallery.spaces.fill(embedder)
        while progress := await self._in_thread(next, steps, None):
            self._progress = progress
            if self._closing:
                return True
        try:
            await self._recognizer.change_to(networks)
        except FailedPrecondition as error:
            if error.reason != "EMBEDDING_SPACE_INCOMPLETE":
                raise
            return False
        return True

    def _measure(self) -> Progress:
        spaces = self._recognizer.gallery.spaces
        return spaces.progress(spaces.served)
