"""The recognizer: who is this, is this the same person, and who shall be known."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from recognizer_service.batcher import Batcher
from recognizer_service.embedder import Embedder
from recognizer_service.enroller import Enroller
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.records import (
    Collection,
    Embedding,
    Sighting,
    SightingOutcome,
)
from recognizer_service.judge import Judge
from recognizer_service.metrics import RecognizerMetrics
from recognizer_service.questions import (
    Criterion,
    FaceMap,
    Identification,
    Probe,
    SightingId,
    Timings,
    Verification,
)
from recognizer_service.thresholds import Thresholds, check_criterion
from shared.inference.map_decoder import CodedMap, MapDecoder

P = ParamSpec("P")
T = TypeVar("T")


class Recognizer:
    """Decodes, embeds, compares and remembers; its methods run on one event loop.

    Attributes:
        decoder: RecNets and extractor.
        gallery: who is known.
        enroller: makes people known.
    """

    def __init__(
        self,
        *,
        decoder: MapDecoder,
        gallery: Gallery,
        batcher: Batcher[CodedMap, Embedding],
        executor: ThreadPoolExecutor,
        metrics: RecognizerMetrics,
        min_quality: float,
    ) -> None:
        """Bring the parts together.

        Args:
            decoder: RecNets and extractor.
            gallery: who is known.
            batcher: feeds maps to `decoder.embed`, many at a time.
            executor: threads for the gallery.
            metrics: is told what happens.
            min_quality: in [0, 1]; nothing is concluded from probes below.
        """
        self.decoder = decoder
        self.gallery = gallery
        self._embedder = Embedder(decoder, batcher)
        self._judge = Judge(Thresholds(decoder.model.manifest), min_quality=min_quality)
        self.enroller = Enroller(
            gallery=gallery, embedder=self._embedder, judge=self._judge, in_thread=self.in_thread
        )
        self._executor = executor
        self._metrics = metrics

    async def identify(
        self, collection_id: str, probe: Probe, criterion: Criterion, *, max_subjects: int
    ) -> Identification:
        """Who in a collection the probe shows; candidates whether or not they match.

        Raises:
            InvalidInput: a bad map, quality, threshold or number of subjects.
            NotFound: no such collection or sighting.
            UnknownCodec: no decoder for the probe.
            FailedPrecondition: no calibration for the codecs, and no similarity given.
        """
        check_criterion(criterion, rate_name="max_fpir")
        timings = Timings()
        collection = await self._collection(collection_id)
        face = await self._resolve(collection_id, probe)
        (embedding,) = await self._embedder.embed([face], timings)
        with timings.measure("match_ms"):
            hits = await self.in_thread(
                self.gallery.search, collection_id, embedding, count=max_subjects
            )
        answer = self._judge.identification(face, hits, criterion, collection, timings)
        self._metrics.answered("identify", answer.decision, timings)
        return answer

    async def verify_map(
        self, collection_id: str, probe: Probe, reference: FaceMap, criterion: Criterion
    ) -> Verification:
        """Whether two maps show the same person; raises as `identify`."""
        check_criterion(criterion, rate_name="max_fmr")
        timings = Timings()
        collection = await self._collection(collection_id)
        face = await self._resolve(collection_id, probe)
        ours, theirs = await self._embedder.embed([face, reference], timings)
        answer = self._judge.verification(
            (face, reference),
            float(np.clip(ours @ theirs, -1, 1)),
            criterion,
            collection,
            timings,
            codecs=(face.codec_id, reference.codec_id),
        )
        self._metrics.answered("verify", answer.decision, timings)
        return answer

    async def verify_subject(
        self, collection_id: str, probe: Probe, subject_id: str, criterion: Criterion
    ) -> Verification:
        """Whether the probe shows an enrolled subject; raises as `identify`, and for the subject.

        Raises:
            NotFound: no such subject.
            FailedPrecondition: SUBJECT_HAS_NO_FACES.
        """
        check_criterion(criterion, rate_name="max_fmr")
        timings = Timings()
        collection = await self._collection(collection_id)
        subject, _ = await self.in_thread(self.gallery.subjects.get, collection_id, subject_id)
        face = await self._resolve(collection_id, probe)
        (embedding,) = await self._embedder.embed([face], timings)
        with timings.measure("match_ms"):
            hit = await self.in_thread(
                self.gallery.similarity_to_subject, collection_id, subject_id, embedding
            )
        answer = self._judge.verification(
            (face,),
            hit.similarity,
            criterion,
            collection,
            timings,
            codecs=(face.codec_id, hit.codec_id),
            faces=1 if collection.by_template else subject.face_count,
            face_id=hit.face_id,
        )
        self._metrics.answered("verify", answer.decision, timings)
        return answer

    async def accept_sighting(
        self, collection_id: str, sighting_id: str, camera_id: str, face: FaceMap
    ) -> SightingOutcome:
        """Keep a streamed map, durably, if its collection keeps any.

        Raises:
            InvalidInput: a bad map or id.
            NotFound: no such collection.
            UnknownCodec: no decoder for the map.
            AlreadyExists: the id came with another body.
        """
        self._embedder.unpack(face)  # only what can be decoded is worth keeping
        sighting = Sighting(
            sighting_id, camera_id, face.codec_id, face.png, face.quality, face.capture_time
        )
        outcome = await self.in_thread(self.gallery.sightings.store, collection_id, sighting)
        self._metrics.sighted(outcome)
        return outcome

    async def embed(self, face: FaceMap) -> Embedding:
        """The map's embedding: (512,) float32 of unit length; raises as `identify`."""
        (embedding,) = await self._embedder.embed([face], Timings())
        return embedding

    async def reconstruct(self, collection_id: str, probe: Probe) -> NDArray[np.uint8]:
        """The picture that a map holds: (112, 96, 3) uint8 RGB; raises as `identify`."""
        face = await self._resolve(collection_id, probe)
        symbols = self._embedder.unpack(face)
        pictures = await self.in_thread(self.decoder.reconstruct, [(face.codec_id, symbols)])
        picture: NDArray[np.uint8] = pictures[0]
        return picture

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call of gallery or decoder in the recognizer's threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: call(*args, **kwargs))

    async def _collection(self, collection_id: str) -> Collection:
        return await self.in_thread(self.gallery.collections.get, collection_id)

    async def _resolve(self, collection_id: str, probe: Probe) -> FaceMap:
        if not isinstance(probe, SightingId):
            return probe
        seen = await self.in_thread(self.gallery.sightings.get, collection_id, probe.id)
        return FaceMap(
            seen.codec_id, seen.png, seen.quality, seen.captured_at, field="probe.sighting_id"
        )
