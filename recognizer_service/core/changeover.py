"""Bringing a running service to the current model, while the one before it serves."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from recognizer_service.cross_codec import CrossCodecEmbedder
from recognizer_service.gallery.reembed import MapEmbedder, Progress
from recognizer_service.networks import Networks
from recognizer_service.recognizer import Recognizer
from shared.errors import FailedPrecondition
from shared.model_directory import ModelDirectory, current_version
from shared.service.background import Background

P = ParamSpec("P")
T = TypeVar("T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """How far a change-over is.

    Attributes:
        progress: of the re-embedding.
        done: whether the current model serves.
    """

    progress: Progress
    done: bool


class Changeover:
    """Embeds the gallery anew for the model that is current, then lets that model serve.

    The work is done in a thread of its own, a batch at a time, and each batch is durable; the
    gallery's own threads stay free for searches.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        models: Path,
        family: str,
        device: str,
        open_networks: Callable[[ModelDirectory], Networks],
        background: Background,
    ) -> None:
        """Prepare; nothing is done before `begin` or `ask`.

        Args:
            recognizer: what is to be changed over.
            models: folder of model families.
            family: which of them to serve.
            device: of torch, for decoders of versions before.
            open_networks: makes the networks of a model, not yet started.
            background: runs the work.
        """
        self._recognizer = recognizer
        self._models = models
        self._family = family
        self._device = device
        self._open_networks = open_networks
        self._background = background
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="changeover")
        self._task: asyncio.Task[None] | None = None
        self._progress = Progress(0, 0)
        self._closing = False

    def begin(self) -> None:
        """Begin in the background. After a failure the old model serves until `ask` begins anew."""
        self._task = self._background.start("changeover", self._change_over())

    async def ask(self) -> Status:
        """How far it is; begins where nothing is under way and the current model does not serve.

        Raises:
            CompactfaceError: why the last try failed. It is told once, and forgotten.
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
        """Stop after the batch in hand; what is embedded by then is kept."""
        self._closing = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)  # it is logged
        self._executor.shutdown()

    def _is_served(self, version: str) -> bool:
        manifest = self._recognizer.decoder.model.manifest
        return (manifest.family, manifest.version) == (self._family, version)

    async def _change_over(self) -> None:
        model = await self._in_thread(ModelDirectory.load, self._models, self._family)
        networks = await self._in_thread(self._open_networks, model)
        _log.info("changeover_begun", version=model.manifest.version, space=networks.space)
        await self._in_thread(networks.decoder.warm_up)
        embedder = CrossCodecEmbedder(networks.decoder, device=self._device)
        networks.start()
        try:
            while not await self._fill_and_serve(embedder, networks):
                pass
        finally:
            if self._recognizer.model.networks is not networks:
                await networks.close()

    async def _fill_and_serve(self, embedder: MapEmbedder, networks: Networks) -> bool:
        """Whether nothing is left to do; False where faces were enrolled in the last moment."""
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

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: call(*args, **kwargs))
