"""The model in use: its networks, and their replacement while requests arrive."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from recognizer_service.core.batching import Batcher
from recognizer_service.core.decide import Judge
from recognizer_service.core.quality import MapJudge, allowance, check_enrollable
from recognizer_service.core.thresholds import Thresholds
from recognizer_service.core.types import FaceMap
from recognizer_service.gallery.sightings.types import UnknownFace
from recognizer_service.gallery.types import Embedding, EmbeddingSpaceChanged, SubjectHit
from shared.errors import CompactfaceError, InvalidInput
from shared.inference.map_decoder import CodedMap, MapDecoder, Symbols


@dataclass(frozen=True, slots=True)
class OpenedMap:
    """A face and the symbols of its map."""

    face: FaceMap
    symbols: Symbols = field(repr=False)


@dataclass(frozen=True, slots=True)
class EmbeddedMap(OpenedMap):
    """A face with its embedding.

    Attributes:
        embedding: (D,) float32 of unit length.
        length: of the embedding before; the longer, the surer.
    """

    embedding: Embedding = field(repr=False)
    length: float


def _check_quality(face: FaceMap) -> None:
    if face.quality is not None and not 0 <= face.quality <= 1:
        raise InvalidInput(
            "INVALID_QUALITY",
            f"quality is {face.quality}; it must be in [0, 1]",
            field=f"{face.field}.quality",
        )


T = TypeVar("T")


class Networks:
    """The networks of one model, the batching thread that feeds them, and its calibration.

    Attributes:
        decoder: RecNets and extractor.
        judge: decides by the model's calibration.
    """

    def __init__(
        self,
        decoder: MapDecoder,
        batcher: Batcher[CodedMap, tuple[Embedding, float]],
        *,
        min_quality: float,
    ) -> None:
        """Create the parts; `start` begins the work.

        Args:
            decoder: RecNets and extractor.
            batcher: passes batches of maps to `decoder.embed_with_lengths`.
            min_quality: in [0, 1]; faces below it are inconclusive.
        """
        self.decoder = decoder
        self.judge = Judge(Thresholds(decoder.model.manifest), min_quality=min_quality)
        self._maps = MapJudge(decoder.model)
        self._min_quality = min_quality
        self._batcher = batcher
        self._holders = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def space(self) -> str:
        """The embedding space."""
        return self.decoder.embedding_space

    def start(self) -> None:
        """Start serving; call it on the event loop."""
        self._batcher.start()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep `retire` waiting: for requests with several steps."""
        self._holders += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._idle.set()

    def check(self, count: int) -> None:
        """Check that this many maps can be embedded in time; see `Batcher.check`."""
        self._batcher.check(count)

    def opened(self, faces: Sequence[FaceMap]) -> list[OpenedMap]:
        """Parse the maps of some faces.

        Raises:
            InvalidInput: an invalid map or quality.
            UnknownCodec: no decoder for one of the maps.
        """
        return [OpenedMap(face, self._unpack(face)) for face in faces]

    def _unpack(self, face: FaceMap) -> Symbols:
        _check_quality(face)
        try:
            return self.decoder.unpack(face.codec_id, face.png)
        except InvalidInput as error:
            raise error.in_field(f"{face.field}.png") from None
        except CompactfaceError as error:
            raise error.in_field(f"{face.field}.codec_id") from None

    async def embed(self, maps: Sequence[OpenedMap]) -> list[EmbeddedMap]:
        """Embed some maps.

        Maps of different requests are embedded together.

        Raises:
            Overloaded: the inference queue is full.
        """
        with self.held():
            found = await self._batcher.submit([(one.face.codec_id, one.symbols) for one in maps])
        return [
            EmbeddedMap(one.face, one.symbols, embedding, float(length))
            for one, (embedding, length) in zip(maps, found, strict=True)
        ]

    def judged(self, one: OpenedMap) -> FaceMap:
        """Return the face with the judgment of its map, and of its embedding if it has one.

        Runs a network: call it in a thread.
        """
        length = one.length if isinstance(one, EmbeddedMap) else None
        return self._maps.judged(one.face, one.symbols, length)

    def enrolled(self, hit: SubjectHit) -> FaceMap | None:
        """Return the face of a hit with the judgment of its map; None if it cannot be decoded.

        Call it in a thread.
        """
        return self._stored(hit.face_codec_id, hit.png)

    def unknown(self, face: FaceMap, embedding: Embedding) -> UnknownFace | None:
        """Return what groups an unknown face, judged before; None if it is not fit for it."""
        if face.quality is not None and face.quality < self._min_quality:
            return None
        try:
            check_enrollable(face, min_quality=self._min_quality, allow_low_quality=False)
        except InvalidInput:
            return None

        def allowed(codec_id: str, png: bytes) -> float:
            other = self._stored(codec_id, png)
            return allowance(face, other).similarity if other else 0.0

        return UnknownFace(
            embedding,
            self.space,
            face.quality,
            thresholds=partial(self.judge.stranger_thresholds, face),
            allowance=allowed,
        )

    def _stored(self, codec_id: str, png: bytes) -> FaceMap | None:
        face = FaceMap(codec_id, png)
        try:
            return self._maps.judged_again(face, lambda: self._unpack(face))
        except CompactfaceError:
            return None

    def enrollable(self, faces: Sequence[FaceMap], *, allow_low_quality: bool) -> list[OpenedMap]:
        """Parse maps to enroll and refuse unsuitable faces. Call it in a thread.

        Raises:
            InvalidInput: as `opened` and `check_enrollable`.
            UnknownCodec: as `opened`.
        """
        maps = self.opened(faces)
        self.check_enrollable(maps, allow_low_quality=allow_low_quality)
        return maps

    def check_enrollable(self, maps: Sequence[OpenedMap], *, allow_low_quality: bool) -> None:
        """Refuse unsuitable faces by what is known of them. Call it in a thread.

        Raises:
            InvalidInput: as `quality.check_enrollable`.
        """
        for one in maps:
            check_enrollable(
                self.judged(one),
                min_quality=self._min_quality,
                allow_low_quality=allow_low_quality,
            )

    async def retire(self) -> None:
        """Finish the work in progress once no new work arrives, then close."""
        while self._holders:  # somebody may have come since the event was set
            await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """Refuse queued work and stop the thread."""
        await self._batcher.close()


class ModelInUse:
    """The networks that serve. They and the gallery's embedding space are replaced together.

    Attributes:
        networks: read it once per request and use it for all steps.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self._changing = asyncio.Lock()

    async def ask(self, question: Callable[[Networks], Awaitable[T]]) -> T:
        """Answer a question to the networks and the gallery.

        Retries once if the gallery changed over between the steps, so that two spaces are never
        compared and the request does not fail.

        Raises:
            EmbeddingSpaceChanged: another process changed the gallery over, and these networks
                do not serve it.
        """
        while True:
            asked = self.networks
            try:
                with asked.held():
                    return await question(asked)
            except EmbeddingSpaceChanged:
                async with self._changing:  # the new networks serve by now, if the change was ours
                    if self.networks is asked:
                        raise

    async def change_to(
        self, networks: Networks, serve: Callable[[str], Awaitable[None]]
    ) -> Networks:
        """Switch to other networks; return the old ones, which may still have work in progress.

        Must not be cancelled: the gallery and the networks could end up in different spaces.

        Args:
            networks: started, of any space.
            serve: changes the gallery over to a space.
        """
        async with self._changing:
            await serve(networks.space)
            old, self.networks = self.networks, networks
        return old
