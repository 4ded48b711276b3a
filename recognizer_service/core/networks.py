"""The model in use: its networks, and how another takes their place while requests come in."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from recognizer_service.core.batching import Batcher
from recognizer_service.core.decide import Judge
from recognizer_service.core.quality import MapJudge, check_enrollable
from recognizer_service.core.thresholds import Thresholds
from recognizer_service.core.types import FaceMap, Timings
from recognizer_service.gallery.types import Embedding, EmbeddingSpaceChanged, SubjectHit
from shared.errors import CompactfaceError, InvalidInput
from shared.inference.map_decoder import CodedMap, MapDecoder, Symbols


class Embedder:
    """Embeds maps, those of different requests together.

    Args:
        decoder: knows the codecs.
        batcher: feeds maps to `decoder.embed`, many at a time.
    """

    def __init__(self, decoder: MapDecoder, batcher: Batcher[CodedMap, Embedding]) -> None:
        self._decoder = decoder
        self._batcher = batcher

    async def embed(self, faces: Sequence[FaceMap], timings: Timings) -> list[Embedding]:
        """Embeddings of some faces, each (D,) float32 of unit length.

        All maps are read before the first one is computed, so that a bad one costs nothing.

        Raises:
            InvalidInput: a map that is none, or an impossible quality.
            UnknownCodec: no decoder for one of the maps.
            Overloaded: too many maps wait for inference.
        """
        with timings.measure("unpack_ms"):
            maps = [(face.codec_id, self.unpack(face)) for face in faces]
        with timings.measure("embed_ms"):
            return await self._batcher.submit(maps)

    def unpack(self, face: FaceMap) -> Symbols:
        """The symbols of a map; raises as `embed`."""
        _check_quality(face)
        try:
            return self._decoder.unpack(face.codec_id, face.png)
        except InvalidInput as error:
            raise error.in_field(f"{face.field}.png") from None
        except CompactfaceError as error:
            raise error.in_field(f"{face.field}.codec_id") from None


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
        judge: what the model's similarities mean.
    """

    def __init__(
        self,
        decoder: MapDecoder,
        batcher: Batcher[CodedMap, Embedding],
        *,
        min_quality: float,
    ) -> None:
        """Bring the parts together; the work begins with `start`.

        Args:
            decoder: RecNets and extractor.
            batcher: feeds maps to `decoder.embed`, many at a time.
            min_quality: in [0, 1]; nothing is concluded from faces below.
        """
        self.decoder = decoder
        self.judge = Judge(Thresholds(decoder.model.manifest), min_quality=min_quality)
        self._maps = MapJudge(decoder.model)
        self._min_quality = min_quality
        self._embedder = Embedder(decoder, batcher)
        self._batcher = batcher
        self._callers = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def space(self) -> str:
        """Of the embeddings they make."""
        return self.decoder.embedding_space

    def start(self) -> None:
        """Begin to serve; call it on the event loop."""
        self._batcher.start()

    def check(self, count: int) -> None:
        """Whether so many maps can be embedded in time; see `Batcher.check`."""
        self._batcher.check(count)

    async def embed(self, faces: Sequence[FaceMap], timings: Timings) -> list[Embedding]:
        """Embeddings of some faces; see `Embedder.embed`."""
        self._callers += 1
        self._idle.clear()
        try:
            return await self._embedder.embed(faces, timings)
        finally:
            self._callers -= 1
            if not self._callers:
                self._idle.set()

    def unpack(self, face: FaceMap) -> Symbols:
        """The symbols of a map; see `Embedder.unpack`."""
        return self._embedder.unpack(face)

    def judged(self, face: FaceMap) -> FaceMap:
        """The face with what its map says of it; raises as `Embedder.unpack`."""
        return self._maps.judged(face, self.unpack(face))

    def enrolled(self, hits: Sequence[SubjectHit]) -> dict[str, FaceMap]:
        """The faces of hits by face id, with what their maps say of them.

        One that cannot be decoded any more is left out: it was embedded when it could be.
        """
        found = {}
        for hit in hits:
            with suppress(CompactfaceError):
                found[hit.face_id] = self.judged(FaceMap(hit.face_codec_id, hit.png))
        return found

    def check_enrollable(self, faces: Sequence[FaceMap], *, allow_low_quality: bool) -> None:
        """Refuse faces that nobody should be known by; see `quality.check_enrollable`."""
        for face in faces:
            check_enrollable(
                self.judged(face),
                min_quality=self._min_quality,
                allow_low_quality=allow_low_quality,
            )

    async def retire(self) -> None:
        """Finish what was begun, when nobody new comes any more, then close."""
        await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """Refuse what waits and stop the thread."""
        await self._batcher.close()


class ModelInUse:
    """The networks that serve. They and the gallery's embedding space are replaced together.

    Attributes:
        networks: take them once for all steps of a request.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self._changing = asyncio.Lock()

    async def ask(self, question: Callable[[Networks], Awaitable[T]]) -> T:
        """The answer to a question of the networks and the gallery.

        Asked once more where the gallery changed over between its steps, so that no request
        notices and no two spaces are compared.

        Raises:
            EmbeddingSpaceChanged: another process changed the gallery over, and these networks
                do not serve it.
        """
        while True:
            asked = self.networks
            try:
                return await question(asked)
            except EmbeddingSpaceChanged:
                async with self._changing:  # by then others serve, if the change was ours
                    if self.networks is asked:
                        raise

    async def change_to(
        self, networks: Networks, serve: Callable[[str], Awaitable[None]]
    ) -> Networks:
        """Let other networks serve; gives those that did, which may have work in hand.

        Must not be cancelled: the gallery could serve the one space and the networks the other.

        Args:
            networks: started, and of any space.
            serve: changes the gallery over to a space.
        """
        async with self._changing:
            await serve(networks.space)
            old, self.networks = self.networks, networks
        return old
