"""Enrollment: embed the maps, check the faces and store them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from recognizer_service.core.liveness import check_liveness
from recognizer_service.core.networks import ModelInUse, Networks
from recognizer_service.core.types import EnrolAnswer, EnrolRequest, map_of
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.limits import MAX_FACES_PER_SUBJECT
from recognizer_service.gallery.sightings.types import SeenFace
from recognizer_service.gallery.types import Collection, Embedding, Enrolled, Enrolment, NewFace
from shared.errors import InvalidInput, NotFound, Overloaded
from shared.threads import InThread

MAX_FACES_OF_STRANGER = 8
"""Maximum number of sightings enrolled of a stranger, the best ones; more add little."""
_PATIENT_TRIES = 20


@dataclass(frozen=True, slots=True)
class PreparedEnrolment:
    """An enrollment that is checked and embedded, ready to store.

    Attributes:
        collection: its collection.
        request: with the faces of its sightings.
        networks: embedded the faces.
        embeddings: one per face.
        others: sightings of the stranger that are not enrolled.
        earlier: the answer to the same request before; nothing is to be stored.
    """

    collection: Collection
    request: EnrolRequest
    networks: Networks
    embeddings: Sequence[Embedding]
    others: Sequence[SeenFace] = ()
    earlier: Enrolled | None = None


class Enroller:
    """Enrolls in two steps, so that many can be embedded concurrently and stored in order."""

    def __init__(
        self,
        *,
        gallery: Gallery,
        model: ModelInUse,
        identify_anew: Callable[[str, Sequence[str], Sequence[SeenFace]], Awaitable[None]],
        in_thread: InThread,
        in_writer: InThread,
    ) -> None:
        """Create an enroller from the recognizer's parts."""
        self._gallery = gallery
        self._model = model
        self._identify_anew = identify_anew
        self._in_thread = in_thread
        self._in_writer = in_writer

    async def enroll(self, collection_id: str, request: EnrolRequest) -> EnrolAnswer:
        """Add faces to a subject: all or none, durable on return.

        Raises:
            InvalidInput: a bad map or a field beyond its limit; NOT_A_FACE; QUALITY_TOO_LOW;
                LIVENESS_TOO_LOW.
            NotFound: no such collection or sighting.
            AlreadyExists: SUBJECT_EXISTS, DUPLICATE_FACE or REQUEST_ID_REUSED.
            UnknownCodec: no decoder for one of the maps.
            FailedPrecondition: TOO_MANY_FACES; QUOTA_EXCEEDED; NOT_CALIBRATED, if duplicates
                are refused.
            Overloaded: too many maps wait for inference.
        """
        return await self.store(await self.prepare(collection_id, request))

    async def prepare(self, collection_id: str, request: EnrolRequest) -> PreparedEnrolment:
        """Check and embed the maps; raises as `enroll`."""
        if request.enrolment.stranger:
            return await self._prepare_stranger(collection_id, request)
        count = len(request.maps) + len(request.sighting_ids)
        _check_face_count(count)
        self._model.networks.check(count)
        collection = await self._in_thread(self._gallery.collections.get, collection_id)
        if request.sighting_ids:
            seen = await self._in_thread(
                self._gallery.sightings.find, collection_id, request.sighting_ids
            )
            request = _with_faces(request, seen)
        check_liveness(collection, request.maps)
        return await self._embedded(collection, request, self._model.networks)

    async def _prepare_stranger(
        self, collection_id: str, request: EnrolRequest
    ) -> PreparedEnrolment:
        """Prepare an enrollment from the best sightings of a stranger."""
        if request.maps or request.sighting_ids:
            raise InvalidInput(
                "STRANGER_WITH_FACES",
                f"stranger_number is {request.enrolment.stranger}, with "
                f"{len(request.maps)} maps and {len(request.sighting_ids)} sighting_ids; give "
                "either",
                field="stranger_number",
            )
        collection = await self._in_thread(self._gallery.collections.get, collection_id)
        earlier = await self._in_thread(
            self._gallery.strangers.named_before,
            collection_id,
            request.enrolment,
            caller=request.caller,
            request_id=request.request_id,
            refuse_duplicates=not request.allow_duplicates,
        )
        if earlier:
            return PreparedEnrolment(collection, request, self._model.networks, (), earlier=earlier)
        seen = await self._in_thread(
            self._gallery.strangers.sightings, collection_id, request.enrolment.stranger
        )
        best = seen[: await self._in_thread(self._room, collection_id, request)]
        self._model.networks.check(len(best))
        request = _with_faces(request, best)
        check_liveness(collection, request.maps)
        prepared = await self._embedded(collection, request, self._model.networks)
        return replace(prepared, others=seen[len(best) :])

    def _room(self, collection_id: str, request: EnrolRequest) -> int:
        """Return how many sightings of a stranger to enroll; at least one, which may not fit."""
        present = 0
        if subject_id := request.enrolment.subject_id:
            with suppress(NotFound):
                subject, _ = self._gallery.subjects.get(collection_id, subject_id)
                present = subject.face_count
        return max(1, min(MAX_FACES_OF_STRANGER, MAX_FACES_PER_SUBJECT - present))

    async def prepare_patiently(
        self, collection_id: str, request: EnrolRequest
    ) -> PreparedEnrolment:
        """Run `prepare`, waiting while the queue is full; for bulk callers."""
        for _ in range(_PATIENT_TRIES):
            try:
                return await self.prepare(collection_id, request)
            except Overloaded as error:
                if error.reason != "INFERENCE_QUEUE_FULL":
                    raise  # a deadline, say, which waiting brings no further away
                await asyncio.sleep(error.retry_after_s)
        return await self.prepare(collection_id, request)

    async def store(self, prepared: PreparedEnrolment) -> EnrolAnswer:
        """Store a prepared enrollment; raises as `enroll`."""
        if prepared.earlier:
            return EnrolAnswer(
                prepared.earlier,
                prepared.networks.judge.disagreements(
                    prepared.earlier.agreements, prepared.collection
                ),
            )

        async def stored(networks: Networks) -> EnrolAnswer:
            if networks is prepared.networks:
                return await self._store(prepared)
            return await self._store(
                await self._embedded(prepared.collection, prepared.request, networks)
            )

        answer = await self._model.ask(stored)
        if ids := prepared.request.sighting_ids:
            await self._identify_anew(prepared.collection.collection_id, ids, prepared.others)
        return answer

    async def _embedded(
        self, collection: Collection, request: EnrolRequest, networks: Networks
    ) -> PreparedEnrolment:
        with networks.held():
            maps = await self._in_thread(
                networks.enrollable, request.maps, allow_low_quality=request.allow_low_quality
            )
            found = await networks.embed(maps)
            await self._in_thread(
                networks.check_enrollable, found, allow_low_quality=request.allow_low_quality
            )
        return PreparedEnrolment(collection, request, networks, [each.embedding for each in found])

    async def _store(self, prepared: PreparedEnrolment) -> EnrolAnswer:
        request, collection = prepared.request, prepared.collection
        judge = prepared.networks.judge
        enrolled = await self._in_writer(
            self._gallery.enroll,
            collection.collection_id,
            _enrolment(prepared),
            caller=request.caller,
            request_id=request.request_id,
            duplicates=None
            if request.allow_duplicates
            else judge.duplicate_thresholds(request.maps, collection),
            space=prepared.networks.space,
        )
        return EnrolAnswer(enrolled, judge.disagreements(enrolled.agreements, collection))


def _enrolment(prepared: PreparedEnrolment) -> Enrolment:
    faces = tuple(
        NewFace(face.codec_id, face.png, embedding, face.quality, face.capture_time)
        for face, embedding in zip(prepared.request.maps, prepared.embeddings, strict=True)
    )
    return replace(prepared.request.enrolment, faces=faces)


def _with_faces(request: EnrolRequest, seen: Sequence[SeenFace]) -> EnrolRequest:
    """Return a request with the faces of sightings after its own."""
    faces = [
        replace(map_of(one), field=f"sighting_ids[{position}]") for position, one in enumerate(seen)
    ]
    ids = [one.sighting.sighting_id for one in seen]
    return replace(request, maps=[*request.maps, *faces], sighting_ids=ids)


def _check_face_count(count: int) -> None:
    """Refuse before embedding what the gallery would refuse afterwards."""
    if not 1 <= count <= MAX_FACES_PER_SUBJECT:
        raise InvalidInput(
            "INVALID_FACE_COUNT",
            f"{count} faces given; 1 to {MAX_FACES_PER_SUBJECT} are accepted",
            field="maps",
        )
