"""The recognizer: who is this, is this the same person, and who shall be known."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from recognizer_service.batcher import Batcher
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.records import (
    Collection,
    Embedding,
    Enrolled,
    Enrolment,
    NewFace,
    Sighting,
    SightingOutcome,
    SubjectHit,
)
from recognizer_service.metrics import RecognizerMetrics
from recognizer_service.questions import (
    Candidate,
    Criterion,
    Decision,
    FaceMap,
    Identification,
    Probe,
    SightingId,
    Timings,
    Verification,
)
from recognizer_service.thresholds import Thresholds, check_criterion
from shared.errors import CompactfaceError, InvalidInput
from shared.inference.map_decoder import CodedMap, MapDecoder, Symbols

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """Whom to enrol; the faces still as maps.

    Attributes:
        maps: the faces.
        subject_id: the subject, new or known; "": an id is made.
        display_name: for people.
        create_only: refuse a known subject.
        allow_duplicates: enrol even if another subject looks the same.
        request_id: makes the call safe to repeat; "": it is not.
        caller: whose request ids these are.
    """

    maps: Sequence[FaceMap]
    subject_id: str
    display_name: str
    create_only: bool
    allow_duplicates: bool
    request_id: str
    caller: str


class Recognizer:
    """Decodes, embeds, compares and remembers; its methods run on one event loop."""

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
            executor: threads for the gallery and for unpacking.
            metrics: is told what happens.
            min_quality: in [0, 1]; nothing is concluded from probes below.
        """
        self.decoder = decoder
        self.gallery = gallery
        self._batcher = batcher
        self._executor = executor
        self._metrics = metrics
        self._min_quality = min_quality
        self._thresholds = Thresholds(decoder.model.manifest)

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
        embedding = await self._embed(face, timings, field="probe.map")
        with _measured(timings, "match_ms"):
            hits = await self.in_thread(
                self.gallery.search, collection_id, embedding, count=max_subjects
            )
        answer = self._conclude(face, hits, criterion, collection, timings)
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
        ours, theirs = await asyncio.gather(
            self._embed(face, timings, field="probe.map"),
            self._embed(reference, timings, field="map"),
        )
        similarity = float(np.clip(ours @ theirs, -1, 1))
        return self._compare(
            (face, reference),
            similarity,
            criterion,
            collection,
            timings,
            codecs=(face.codec_id, reference.codec_id),
        )

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
        face = await self._resolve(collection_id, probe)
        embedding = await self._embed(face, timings, field="probe.map")
        with _measured(timings, "match_ms"):
            hit = await self.in_thread(
                self.gallery.similarity_to_subject, collection_id, subject_id, embedding
            )
            enrolled = await self.in_thread(
                self.gallery.subjects.list_faces, collection_id, subject_id
            )
        return self._compare(
            (face,),
            hit.similarity,
            criterion,
            collection,
            timings,
            codecs=(face.codec_id, hit.codec_id),
            faces=max(1, len(enrolled)),
            face_id=hit.face_id,
        )

    async def enroll(self, collection_id: str, request: EnrolRequest) -> Enrolled:
        """Add faces to a subject: all or none, durable on return.

        Raises:
            InvalidInput: a bad map or a field beyond its limit.
            NotFound: no such collection.
            AlreadyExists: SUBJECT_EXISTS, DUPLICATE_FACE or REQUEST_ID_REUSED.
            UnknownCodec: no decoder for one of the maps.
            FailedPrecondition: too many faces; NOT_CALIBRATED, if duplicates are refused.
        """
        collection = await self._collection(collection_id)
        embeddings = await asyncio.gather(
            *(
                self._embed(face, Timings(), field=f"maps[{position}]")
                for position, face in enumerate(request.maps)
            )
        )
        enrolment = Enrolment(
            faces=tuple(
                NewFace(face.codec_id, face.png, embedding, face.quality, face.capture_time)
                for face, embedding in zip(request.maps, embeddings, strict=True)
            ),
            subject_id=request.subject_id or None,
            display_name=request.display_name,
            create_only=request.create_only,
        )
        enrolled = await self.in_thread(
            self.gallery.enroll,
            collection_id,
            enrolment,
            caller=request.caller,
            request_id=request.request_id,
            duplicate_similarity=self._duplicate_similarity(request, collection),
        )
        if not enrolled.repeated:
            self._metrics.faces.inc(len(enrolled.faces))
        return enrolled

    async def accept_sighting(
        self, collection_id: str, sighting_id: str, camera_id: str, face: FaceMap
    ) -> SightingOutcome:
        """Keep a streamed map, durably, if its collection keeps any.

        Raises:
            InvalidInput: a bad map or id.
            UnknownCodec: no decoder for the map.
            AlreadyExists: the id came with another body.
        """
        self._unpack(face, field="map")
        sighting = Sighting(
            sighting_id, camera_id, face.codec_id, face.png, face.quality, face.capture_time
        )
        outcome = await self.in_thread(self.gallery.sightings.store, collection_id, sighting)
        self._metrics.sighted(outcome)
        return outcome

    async def embed(self, face: FaceMap) -> Embedding:
        """The map's embedding: (512,) float32 of unit length."""
        return await self._embed(face, Timings(), field="map")

    async def reconstruct(self, collection_id: str, probe: Probe) -> NDArray[np.uint8]:
        """The picture that a map holds: (112, 96, 3) uint8 RGB."""
        face = await self._resolve(collection_id, probe)
        symbols = self._unpack(face, field="probe.map")
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
        return FaceMap(seen.codec_id, seen.png, seen.quality, seen.captured_at)

    def _unpack(self, face: FaceMap, *, field: str) -> Symbols:
        if face.quality is not None and not 0 <= face.quality <= 1:
            raise InvalidInput(
                "INVALID_QUALITY",
                f"quality is {face.quality}; it must be in [0, 1]",
                field=f"{field}.quality",
            )
        try:
            return self.decoder.unpack(face.codec_id, face.png)
        except InvalidInput as error:
            raise error.in_field(f"{field}.png") from None
        except CompactfaceError as error:
            raise error.in_field(f"{field}.codec_id") from None

    async def _embed(self, face: FaceMap, timings: Timings, *, field: str) -> Embedding:
        with _measured(timings, "unpack_ms"):
            symbols = self._unpack(face, field=field)
        with _measured(timings, "embed_ms"):
            return await self._batcher.submit((face.codec_id, symbols))

    def _conclude(
        self,
        face: FaceMap,
        hits: Sequence[SubjectHit],
        criterion: Criterion,
        collection: Collection,
        timings: Timings,
    ) -> Identification:
        checked = face.quality is not None
        if not hits:
            return Identification(Decision.EMPTY_GALLERY, quality_checked=checked, timings=timings)
        thresholds = [
            self._thresholds.applied(
                criterion,
                default_rate=collection.max_fpir,
                faces=max(1, collection.face_count),
                codecs=(face.codec_id, hit.codec_id),
            )
            for hit in hits
        ]
        candidates = tuple(
            Candidate(hit, matched=hit.similarity >= threshold.similarity)
            for hit, threshold in zip(hits, thresholds, strict=True)
        )
        return Identification(
            self._decide(candidates[0].matched, [face]),
            candidates,
            thresholds[0],
            quality_checked=checked,
            timings=timings,
        )

    def _compare(
        self,
        judged: Sequence[FaceMap],
        similarity: float,
        criterion: Criterion,
        collection: Collection,
        timings: Timings,
        *,
        codecs: tuple[str, str],
        faces: int = 1,
        face_id: str = "",
    ) -> Verification:
        threshold = self._thresholds.applied(
            criterion, default_rate=collection.max_fmr, faces=faces, codecs=codecs
        )
        estimate, extrapolated = self._thresholds.fmr_at(similarity, codecs)
        decision = self._decide(similarity >= threshold.similarity, judged)
        self._metrics.answered("verify", decision, timings)
        return Verification(
            decision=decision,
            similarity=similarity,
            threshold=threshold,
            estimated_fmr=estimate,
            estimate_extrapolated=extrapolated,
            face_id=face_id,
            quality_checked=any(face.quality is not None for face in judged),
            timings=timings,
        )

    def _decide(self, matched: bool, judged: Sequence[FaceMap]) -> Decision:  # noqa: FBT001
        if any(face.quality is not None and face.quality < self._min_quality for face in judged):
            return Decision.LOW_QUALITY
        return Decision.MATCH if matched else Decision.NO_MATCH

    def _duplicate_similarity(self, request: EnrolRequest, collection: Collection) -> float | None:
        """What a stranger's face reaches once in 1/max_fpir enrolments; None: do not look."""
        if request.allow_duplicates or not request.maps:
            return None
        return max(
            self._thresholds.applied(
                Criterion(),
                default_rate=collection.max_fpir,
                faces=max(1, collection.face_count),
                codecs=(face.codec_id, face.codec_id),
            ).similarity
            for face in request.maps
        )


@contextmanager
def _measured(timings: Timings, stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    setattr(timings, stage, getattr(timings, stage) + 1000 * (time.perf_counter() - began))
