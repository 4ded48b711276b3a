"""Identifies sightings as they arrive, and streams them to watchers."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from itertools import islice

import structlog

from recognizer_service.core.networks import ModelInUse
from recognizer_service.core.pulse import Pulse, either
from recognizer_service.core.types import (
    Criterion,
    Decision,
    FaceMap,
    Identification,
    Question,
    map_of,
)
from recognizer_service.gallery.sightings.sightings import Sightings
from recognizer_service.gallery.sightings.strangers import Strangers
from recognizer_service.gallery.sightings.types import (
    SeenFace,
    Sighting,
    SightingFilter,
    SightingFinding,
    SightingMatch,
    SightingOutcome,
    UnknownFace,
)
from recognizer_service.gallery.types import Embedding, EmbeddingSpaceChanged
from recognizer_service.metrics import RecognizerMetrics
from shared.errors import CompactfaceError, NotFound, Overloaded, Unavailable
from shared.threads import InThread

_log = structlog.get_logger(__name__)

_AT_ONCE = 16  # leaves places in the inference queue for other calls
_LOOK_EVERY_S = 1.0  # for changes made by another process
_RETRY_S = 1.0
_PAGE = 100


class SightingDesk:
    """Identifies stored sightings and notifies watchers.

    Sightings left unidentified by a crash are identified at the next start. After a change of
    model, the faces of strangers are embedded again in between.

    Attributes:
        rung: fires when alert rules have fired.

    Args:
        sightings: the gallery's sightings.
        strangers: the gallery's strangers.
        model: the networks that serve.
        search: searches the gallery.
        in_thread: runs reads.
        in_writer: runs writes.
        metrics: counts results.
    """

    def __init__(
        self,
        sightings: Sightings,
        strangers: Strangers,
        model: ModelInUse,
        search: Callable[[Question], Awaitable[Identification]],
        *,
        in_thread: InThread,
        in_writer: InThread,
        metrics: RecognizerMetrics,
    ) -> None:
        self._sightings = sightings
        self._strangers = strangers
        self._model = model
        self._search = search
        self._in_thread = in_thread
        self._in_writer = in_writer
        self._metrics = metrics
        self._arrived = Pulse()
        self._identified = Pulse()
        self.rung = Pulse()
        self._done_to = 0
        self._again: deque[SeenFace] = deque()
        self._renewed_space = ""

    def arrived(self) -> None:
        """Signal that sightings were stored."""
        self._arrived.beat()

    async def accept(
        self,
        collection_id: str,
        maps: Sequence[tuple[str, str, FaceMap | CompactfaceError]],
    ) -> list[SightingOutcome | CompactfaceError]:
        """Store streamed maps durably, if their collection keeps sightings.

        Args:
            collection_id: the collection.
            maps: ids, cameras, and maps or the errors found in them earlier.

        Returns:
            For each map its outcome or error: InvalidInput, an invalid map or id; UnknownCodec, no
            decoder for the map; AlreadyExists, the id was used with another body.

        Raises:
            NotFound: no such collection.
        """
        outcomes: list[SightingOutcome | CompactfaceError | None] = []
        sound: list[Sighting] = []
        for sighting_id, camera_id, face in maps:
            if isinstance(face, CompactfaceError):
                outcomes.append(face)
                continue
            try:
                self._model.networks.opened([face])  # only decodable maps are stored
            except CompactfaceError as error:
                outcomes.append(error)
                continue
            outcomes.append(None)
            sound.append(
                Sighting(
                    sighting_id, camera_id, face.codec_id, face.png, face.quality, face.capture_time
                )
            )
        stored = iter(await self._in_writer(self._sightings.store_all, collection_id, sound))
        settled = [next(stored) if outcome is None else outcome for outcome in outcomes]
        for (_, camera_id, _), outcome in zip(maps, settled, strict=True):
            self._metrics.sighted(
                camera_id, outcome if isinstance(outcome, SightingOutcome) else None
            )
        return settled

    async def keep_identifying(self) -> None:
        """Identify stored sightings in order of arrival, forever."""
        while True:
            arrival = self._arrived.next
            try:
                if not await self._work():
                    await either(arrival, timeout_s=_LOOK_EVERY_S)
            except (Overloaded, Unavailable, EmbeddingSpaceChanged) as error:
                _log.warning("sightings_wait", reason=error.reason, message=error.message)
                await asyncio.sleep(_RETRY_S)

    async def _work(self) -> bool:
        """Do some of each kind of work; return whether there was any."""
        pending = await self._in_thread(
            self._sightings.unidentified, after=self._done_to, most=_AT_ONCE
        )
        if pending:
            await self._identify(pending)
            self._done_to = pending[-1].key
        again = list(islice(self._again, _AT_ONCE))
        if again:
            await self._identify(again)
            for _ in again:
                self._again.popleft()
        renewed = await self._renew()
        return bool(pending or again or renewed)

    async def _renew(self) -> bool:
        """Embed some faces of strangers in the space served; return whether there were any."""
        networks = self._model.networks
        if self._renewed_space == networks.space:
            return False
        stale = await self._in_thread(self._strangers.stale, networks.space, most=_AT_ONCE)
        if not stale:
            self._renewed_space = networks.space
            return False
        vectors: dict[int, Embedding | None] = {}
        for seen in stale:
            try:
                (found,) = await networks.embed(networks.opened([map_of(seen)]))
                vectors[seen.key] = found.embedding
            except (Overloaded, Unavailable):
                raise
            except CompactfaceError as error:  # e.g. no decoder for its codec any more
                _log.warning("stranger_not_embedded", reason=error.reason, message=error.message)
                vectors[seen.key] = None
        await self._in_writer(self._strangers.renew, networks.space, vectors)
        return True

    async def identify_anew(
        self, collection_id: str, sighting_ids: Sequence[str], later: Sequence[SeenFace] = ()
    ) -> None:
        """Identify sightings again after somebody was enrolled from them.

        Args:
            collection_id: the collection.
            sighting_ids: identified before this returns.
            later: others of the same person, identified in the background.
        """
        self._again.extend(later)
        self.arrived()
        try:
            seen = await self._in_thread(
                self._sightings.find, collection_id, list(dict.fromkeys(sighting_ids))
            )
            await self._identify(seen)
        except (
            NotFound,
            Overloaded,
            Unavailable,
            EmbeddingSpaceChanged,
        ) as error:  # the enrollment itself has succeeded
            _log.warning("sightings_not_updated", reason=error.reason, message=error.message)

    async def watch(
        self,
        collection_id: str,
        *,
        after: int | None,
        only: SightingFilter,
        stopping: asyncio.Event,
    ) -> AsyncGenerator[SeenFace]:
        """Yield the sightings of a collection as they are identified.

        Args:
            collection_id: the collection.
            after: position to resume from; None means now.
            only: filter.
            stopping: ends the stream.

        Raises:
            NotFound: no such collection.
            Unavailable: SHUTTING_DOWN.
        """
        in_thread = self._in_thread
        if after is None:
            after = await in_thread(self._sightings.newest_position)
        while not stopping.is_set():
            news = self._identified.next
            newest, found = await in_thread(self._news, collection_id, after, only)
            for seen in found:
                yield seen
            if len(found) == _PAGE:
                after = found[-1].position
            else:
                after = max(after, newest)
                await either(news, stopping, timeout_s=_LOOK_EVERY_S)
        raise Unavailable("SHUTTING_DOWN", "the service is shutting down; connect again")

    def _news(
        self, collection_id: str, after: int, only: SightingFilter
    ) -> tuple[int, Sequence[SeenFace]]:
        """The newest position, and a page of what was identified up to it."""
        newest = self._sightings.newest_position()
        found = self._sightings.identified(
            collection_id, after=after, up_to=newest, only=only, most=_PAGE
        )
        return newest, found

    async def _identify(self, seen: Sequence[SeenFace]) -> None:
        answers = await asyncio.gather(*map(self._find, seen))
        findings = {one.key: found for one, (found, _) in zip(seen, answers, strict=True)}
        unknown = {one.key: face for one, (_, face) in zip(seen, answers, strict=True) if face}
        rung = await self._in_writer(self._sightings.keep_findings, findings, unknown)
        for found in findings.values():
            self._metrics.sighting_identified(found.decision or found.failure)
        self._identified.beat()
        self._metrics.alerts_dropped.labels("full").inc(rung.dropped)
        if rung.events:
            self.rung.beat()

    async def _find(self, seen: SeenFace) -> tuple[SightingFinding, UnknownFace | None]:
        """Identify a sighting; an error caused by the sighting becomes its finding.

        The face is returned if it matches nobody and can be grouped with others.
        """
        question = Question(seen.collection_id, map_of(seen), Criterion(), max_subjects=1)
        try:
            answer = await self._search(question)
            self._metrics.compared("sighting", answer)
            return _finding(answer), answer.unknown
        except (Overloaded, Unavailable):
            raise
        except CompactfaceError as error:
            return SightingFinding("", failure=error.reason), None
        except Exception:  # noqa: BLE001 - a bug triggered by one map must not block the others
            _log.exception("sighting_failed", sighting_id=seen.sighting.sighting_id)
            return SightingFinding("", failure="INTERNAL"), None


def _finding(answer: Identification) -> SightingFinding:
    """Return what is stored of an answer: the subject if it matched, otherwise nobody."""
    best = answer.candidates[0] if answer.candidates else None
    if best is None or answer.decision is not Decision.MATCH:
        return SightingFinding(answer.decision.value)
    return SightingFinding(
        answer.decision.value,
        match=SightingMatch(
            best.hit.subject_id,
            best.hit.display_name,
            best.hit.face_id,
            best.hit.similarity,
            best.threshold.similarity,
            best.threshold.fmr,
            best.threshold.faces,
            best.threshold.extrapolated,
        ),
    )
