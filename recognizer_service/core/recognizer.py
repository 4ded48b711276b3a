"""The recognizer: identification, verification and enrollment."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from recognizer_service.core.attempts import Attempts, Whom
from recognizer_service.core.enroll import Enroller
from recognizer_service.core.networks import ModelInUse, Networks, OpenedMap
from recognizer_service.core.pictures import one_match_each
from recognizer_service.core.sightings import SightingDesk
from recognizer_service.core.thresholds import check_criterion
from recognizer_service.core.types import (
    Criterion,
    Doubt,
    FaceMap,
    Identification,
    Probe,
    Question,
    SightingId,
    Timings,
    Verification,
)
from recognizer_service.gallery.audit import Operation
from recognizer_service.gallery.collection_settings import Collection
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.limits import MAX_SUBJECTS_PER_SEARCH, check_range
from recognizer_service.gallery.types import Embedding, Sighting, SightingOutcome
from recognizer_service.metrics import RecognizerMetrics
from shared.demand import Demand, demanding
from shared.errors import CompactfaceError
from shared.inference.map_decoder import MapDecoder

# A less similar face may rank higher if it shares no flaw with the probe.
_LEAST_HITS = 5

P = ParamSpec("P")
T = TypeVar("T")


class Recognizer:
    """Decodes, embeds, compares and stores; its methods run on one event loop.

    Attributes:
        model: the networks that serve.
        gallery: the enrolled subjects.
        enroller: enrolls subjects.
        sightings: identifies streamed maps.
    """

    def __init__(
        self,
        *,
        model: ModelInUse,
        gallery: Gallery,
        readers: ThreadPoolExecutor,
        writers: ThreadPoolExecutor,
        metrics: RecognizerMetrics,
        attempts: Attempts,
    ) -> None:
        """Create a recognizer.

        Args:
            model: the networks that serve, in the gallery's space.
            gallery: the enrolled subjects.
            readers: threads for reads.
            writers: threads for writes. They are separate, as writes wait for each other and for
                database locks, and searches need not.
            metrics: records answers and sightings.
            attempts: limits callers' attempts.
        """
        self.model = model
        self.gallery = gallery
        self.sightings = SightingDesk(
            gallery.sightings,
            self.search,
            in_thread=self.in_thread,
            in_writer=self.in_writer,
            metrics=metrics,
        )
        self.enroller = Enroller(
            gallery=gallery,
            model=model,
            identify_anew=self.sightings.identify_anew,
            in_thread=self.in_thread,
            in_writer=self.in_writer,
        )
        self._readers = readers
        self._writers = writers
        self._metrics = metrics
        self._attempts = attempts
        metrics.serves(model.networks.decoder.model.manifest)

    @property
    def decoder(self) -> MapDecoder:
        """RecNets and extractor of the model that serves."""
        return self.model.networks.decoder

    async def change_to(self, networks: Networks) -> None:
        """Switch to other networks and the gallery to their space, without dropping a request.

        Raises:
            FailedPrecondition: faces have no embedding in that space yet
                (EMBEDDING_SPACE_INCOMPLETE).
        """

        async def serve(space: str) -> None:
            await self.in_writer(self.gallery.spaces.serve, space)

        old = await self.model.change_to(networks, serve)
        self._metrics.serves(networks.decoder.model.manifest)
        await old.retire()

    async def identify(self, question: Question) -> Identification:
        """Search a collection for the probe; returns candidates whether or not they match.

        Raises:
            InvalidInput: an invalid map, quality, threshold or number of subjects.
            NotFound: no such collection or sighting.
            UnknownCodec: no decoder for the probe.
            FailedPrecondition: no calibration for the codecs, and no similarity given.
            PermissionDenied: the caller may not use this threshold (THRESHOLD_FORBIDDEN).
            Overloaded: ATTEMPTS_SPENT; or the inference queue is full.
        """
        answer = await self._search(question, question.max_subjects)
        self._metrics.answered("identify", answer)
        return answer

    async def identify_each(
        self, questions: Sequence[Question]
    ) -> list[Identification | CompactfaceError]:
        """Run `identify` for each question and return answers or errors.

        A subject matches at most one face of a picture.
        """
        of_picture: dict[tuple[str, str], list[int]] = defaultdict(list)
        for position, question in enumerate(questions):
            if question.picture:
                of_picture[question.collection_id, question.picture].append(position)
        faces = {position: len(group) for group in of_picture.values() for position in group}
        answers = await asyncio.gather(
            *(self._try(question, faces.get(at, 1)) for at, question in enumerate(questions))
        )
        for group in of_picture.values():
            self._settle(answers, group)
        return [
            self._finished(question, answer)
            for question, answer in zip(questions, answers, strict=True)
        ]

    async def _try(
        self, question: Question, faces_of_picture: int
    ) -> Identification | CompactfaceError:
        """Identify with one spare candidate for each other face of the picture."""
        most = min(faces_of_picture, MAX_SUBJECTS_PER_SEARCH)
        try:
            return await self._search(question, max(question.max_subjects, most))
        except CompactfaceError as error:
            return error

    @staticmethod
    def _settle(answers: list[Identification | CompactfaceError], group: Sequence[int]) -> None:
        """Resolve, in place, which subject matches which face of a picture."""
        given = {at: answer for at in group if isinstance(answer := answers[at], Identification)}
        settled = one_match_each(list(given.values()))
        for at, answer in zip(given, settled, strict=True):
            answers[at] = answer

    def _finished(
        self, question: Question, answer: Identification | CompactfaceError
    ) -> Identification | CompactfaceError:
        if isinstance(answer, CompactfaceError):
            return answer
        self._metrics.answered("identify", answer)
        return replace(answer, candidates=answer.candidates[: question.max_subjects])

    async def search(self, question: Question) -> Identification:
        """`identify` for internal use; not counted as an answer."""
        with demanding(Demand()):
            return await self._search(question, question.max_subjects)

    async def _search(self, question: Question, count: int) -> Identification:
        collection_id, criterion = question.collection_id, question.criterion
        check_criterion(criterion, rate_name="max_fpir")
        check_range(count, 1, MAX_SUBJECTS_PER_SEARCH, "max_subjects")
        self.model.networks.check(1)
        timings = Timings()
        collection = await self._collection(collection_id)
        self._attempts.check_stated(criterion, collection.max_fpir, rate_name="max_fpir")
        self._attempts.begin_identification(collection_id)
        face = await self._resolve(collection_id, question.probe)

        async def identified(networks: Networks) -> Identification:
            (opened,), (embedding,) = await self._embedded(networks, [face], timings)

            def matched() -> Identification:
                hits = self.gallery.search(
                    collection_id,
                    embedding,
                    count=min(max(count, _LEAST_HITS), MAX_SUBJECTS_PER_SEARCH),
                    thresholds=networks.judge.identification_thresholds(
                        face, criterion, collection
                    ),
                    space=networks.space,
                )
                return networks.judge.identification(
                    networks.judged(opened),
                    hits,
                    criterion,
                    collection,
                    timings,
                    count=count,
                    enrolled=networks.enrolled,
                )

            with timings.measure("match_ms"):
                return await self.in_thread(matched)

        answer = await self.model.ask(identified)
        self._attempts.end_identification(collection_id, answer)
        return answer

    async def verify_map(
        self, collection_id: str, probe: Probe, reference: FaceMap, criterion: Criterion
    ) -> Verification:
        """Decide whether two maps show the same person; raises as `identify`.

        Two maps of the caller's own tell it nothing of others. A sighting's map does, and failures
        are limited as those against a subject.
        """
        check_criterion(criterion, rate_name="max_fmr")
        self.model.networks.check(2)
        timings = Timings()
        collection = await self._collection(collection_id)
        self._attempts.check_stated(criterion, collection.max_fmr, rate_name="max_fmr")
        face = await self._resolve(collection_id, probe)

        async def verified(networks: Networks) -> Verification:
            opened, (ours, theirs) = await self._embedded(networks, [face, reference], timings)

            def matched() -> Verification:
                probe_face, other = map(networks.judged, opened)
                return networks.judge.verification(
                    (probe_face, other),
                    float(np.clip(ours @ theirs, -1, 1)),
                    criterion,
                    collection,
                    timings,
                    codecs=(probe_face.codec_id, other.codec_id),
                    reference=other,
                )

            with timings.measure("match_ms"):
                return await self.in_thread(matched)

        if isinstance(probe, SightingId):
            return await self._attempted(collection_id, probe, verified)
        return self._answered(await verified(self.model.networks))

    async def _attempted(
        self,
        collection_id: str,
        whom: Whom,
        verified: Callable[[Networks], Awaitable[Verification]],
    ) -> Verification:
        """Verify within the caller's attempts."""
        self._attempts.begin_verification(collection_id, whom)
        answer = None
        try:
            answer = await self.model.ask(verified)
        finally:
            self._attempts.end_verification(collection_id, whom, answer)
        return self._answered(answer)

    def _answered(self, answer: Verification) -> Verification:
        self._metrics.answered("verify", answer)
        return answer

    @staticmethod
    async def _embedded(
        networks: Networks, faces: Sequence[FaceMap], timings: Timings
    ) -> tuple[list[OpenedMap], list[Embedding]]:
        """Parse and embed maps. All are parsed first, so that an invalid one costs nothing."""
        with timings.measure("unpack_ms"):
            maps = networks.opened(faces)
        with timings.measure("embed_ms"):
            return maps, await networks.embed(maps)

    async def verify_subject(
        self, collection_id: str, probe: Probe, subject_id: str, criterion: Criterion
    ) -> Verification:
        """Decide whether the probe shows an enrolled subject.

        Raises:
            NotFound: no such subject.
            FailedPrecondition: SUBJECT_HAS_NO_FACES.
            CompactfaceError: as `identify`.
        """
        check_criterion(criterion, rate_name="max_fmr")
        self.model.networks.check(1)
        timings = Timings()
        collection = await self._collection(collection_id)
        subject, _ = await self.in_thread(self.gallery.subjects.get, collection_id, subject_id)
        self._attempts.check_stated(criterion, collection.max_fmr, rate_name="max_fmr")
        faces = 1 if collection.by_template else subject.face_count
        face = await self._resolve(collection_id, probe)

        async def verified(networks: Networks) -> Verification:
            (opened,), (embedding,) = await self._embedded(networks, [face], timings)

            def matched() -> Verification:
                hit = self.gallery.similarity_to_subject(
                    collection_id,
                    subject_id,
                    embedding,
                    thresholds=networks.judge.verification_thresholds(
                        face, criterion, collection, faces=faces
                    ),
                    space=networks.space,
                )
                return networks.judge.verification(
                    (networks.judged(opened),),
                    hit.similarity,
                    criterion,
                    collection,
                    timings,
                    codecs=(face.codec_id, hit.codec_id),
                    faces=faces,
                    face_id=hit.face_id,
                    reference=networks.enrolled(hit),
                )

            with timings.measure("match_ms"):
                return await self.in_thread(matched)

        return await self._attempted(collection_id, subject_id, verified)

    async def review(self, collection_id: str, subject_id: str) -> tuple[Doubt, ...]:
        """Return the doubtful faces of a subject.

        Raises:
            NotFound: no such collection or subject.
        """
        collection = await self._collection(collection_id)

        async def reviewed(networks: Networks) -> tuple[Doubt, ...]:
            reviews = await self.in_thread(
                self.gallery.review, collection_id, subject_id, space=networks.space
            )
            return networks.judge.doubts(reviews, collection)

        return await self.model.ask(reviewed)

    async def accept_sightings(
        self,
        collection_id: str,
        maps: Sequence[tuple[str, str, FaceMap] | CompactfaceError],
    ) -> list[SightingOutcome | CompactfaceError]:
        """Store streamed maps durably, if their collection keeps sightings.

        Args:
            collection_id: the collection.
            maps: ids, cameras and maps, or errors found earlier.

        Returns:
            For each map its outcome or error: InvalidInput, an invalid map or id; UnknownCodec, no
            decoder for the map; AlreadyExists, the id was used with another body.

        Raises:
            NotFound: no such collection.
        """
        outcomes: list[SightingOutcome | CompactfaceError | None] = []
        sound: list[Sighting] = []
        for item in maps:
            if isinstance(item, CompactfaceError):
                outcomes.append(item)
                continue
            sighting_id, camera_id, face = item
            try:
                self.model.networks.opened([face])  # only decodable maps are stored
            except CompactfaceError as error:
                outcomes.append(error)
                continue
            outcomes.append(None)
            sound.append(
                Sighting(
                    sighting_id, camera_id, face.codec_id, face.png, face.quality, face.capture_time
                )
            )
        stored = iter(await self.in_writer(self.gallery.sightings.store_all, collection_id, sound))
        settled = [next(stored) if outcome is None else outcome for outcome in outcomes]
        for outcome in settled:
            self._metrics.sighted(
                camera_id, outcome if isinstance(outcome, SightingOutcome) else None
            )
        return settled

    async def embed(self, face: FaceMap) -> tuple[Embedding, str]:
        """Embed a map: (D,) float32 of unit length, and its space; see `identify`."""
        networks = self.model.networks
        _, (embedding,) = await self._embedded(networks, [face], Timings())
        return embedding, networks.space

    async def reconstruct(self, collection_id: str, probe: Probe) -> NDArray[np.uint8]:
        """Reconstruct the picture of a probe: (112, 96, 3) uint8 RGB; raises as `identify`."""
        return await self.picture_of(await self._resolve(collection_id, probe))

    async def picture_of(self, face: FaceMap) -> NDArray[np.uint8]:
        """Reconstruct the picture of a map: (112, 96, 3) uint8 RGB.

        Raises:
            InvalidInput: an invalid map.
            UnknownCodec: no decoder for it.
        """
        networks = self.model.networks
        (opened,) = networks.opened([face])
        maps = [(face.codec_id, opened.symbols)]
        pictures = await self.in_thread(networks.decoder.reconstruct, maps)
        picture: NDArray[np.uint8] = pictures[0]
        return picture

    async def note(
        self, operation: Operation, collection_id: str, *, subject_id: str = "", caller: str
    ) -> None:
        """Write an audit event before data is disclosed."""
        await self.in_writer(
            self.gallery.audit.note,
            operation,
            collection_id,
            subject_id=subject_id,
            caller=caller,
        )

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking read of the gallery or decoder in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: call(*args, **kwargs))

    async def in_writer(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking write of the gallery in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writers, lambda: call(*args, **kwargs))

    async def _collection(self, collection_id: str) -> Collection:
        return await self.in_thread(self.gallery.collections.get, collection_id)

    async def _resolve(self, collection_id: str, probe: Probe) -> FaceMap:
        if not isinstance(probe, SightingId):
            return probe
        seen = await self.in_thread(self.gallery.sightings.get, collection_id, probe.id)
        return FaceMap(
            seen.codec_id, seen.png, seen.quality, seen.captured_at, field="probe.sighting_id"
        )
