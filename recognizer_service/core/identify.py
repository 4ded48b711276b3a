"""Identification (1:N): which subject of a collection a face shows."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from recognizer_service.core.liveness import check_liveness
from recognizer_service.core.networks import Networks
from recognizer_service.core.parts import Parts, embedded
from recognizer_service.core.thresholds import check_criterion
from recognizer_service.core.types import Decision, Identification, Question, Timings
from recognizer_service.gallery.alerts.ringing import UNKNOWN
from recognizer_service.gallery.limits import MAX_SUBJECTS_PER_SEARCH, check_range
from shared.demand import Demand, demanding
from shared.errors import CompactfaceError

# A less similar face may rank higher if it shares no flaw with the probe.
_LEAST_HITS = 5


class Identifier:
    """Searches the gallery."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def identify(self, question: Question) -> Identification:
        """Search a collection for the probe; returns candidates whether or not they match.

        Raises:
            InvalidInput: an invalid map, quality, threshold or number of subjects;
                LIVENESS_TOO_LOW.
            NotFound: no such collection or sighting.
            UnknownCodec: no decoder for the probe.
            FailedPrecondition: no calibration for the codecs, and no similarity given.
            PermissionDenied: the caller may not use this threshold (THRESHOLD_FORBIDDEN).
            Overloaded: ATTEMPTS_SPENT; or the inference queue is full.
        """
        answer = await self._search(question, question.max_subjects, live=True)
        self._parts.metrics.answered("identify", answer)
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

    async def search(self, question: Question) -> Identification:
        """`identify` for internal use; not counted as an answer, and no liveness required."""
        with demanding(Demand()):
            return await self._search(question, question.max_subjects, live=False)

    async def _try(
        self, question: Question, faces_of_picture: int
    ) -> Identification | CompactfaceError:
        """Identify with one spare candidate for each other face of the picture."""
        most = min(faces_of_picture, MAX_SUBJECTS_PER_SEARCH)
        try:
            return await self._search(question, max(question.max_subjects, most), live=True)
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
        self._parts.metrics.answered("identify", answer)
        return replace(answer, candidates=answer.candidates[: question.max_subjects])

    async def _search(self, question: Question, count: int, *, live: bool) -> Identification:
        collection_id, criterion = question.collection_id, question.criterion
        check_criterion(criterion, rate_name="max_fpir")
        check_range(count, 1, MAX_SUBJECTS_PER_SEARCH, "max_subjects")
        self._parts.model.networks.check(1)
        timings = Timings()
        collection = await self._parts.collection(collection_id)
        if live:
            check_liveness(collection, [question.probe])
        self._parts.attempts.check_stated(criterion, collection.max_fpir, rate_name="max_fpir")
        self._parts.attempts.begin_identification(collection_id)
        face = await self._parts.face(collection_id, question.probe)

        async def identified(networks: Networks) -> Identification:
            (probe,) = await embedded(networks, [face], timings)

            def matched() -> Identification:
                hits = self._parts.gallery.search(
                    collection_id,
                    probe.embedding,
                    count=min(max(count, _LEAST_HITS), MAX_SUBJECTS_PER_SEARCH),
                    thresholds=networks.judge.identification_thresholds(
                        face, criterion, collection
                    ),
                    space=networks.space,
                )
                return networks.judge.identification(
                    networks.judged(probe),
                    hits,
                    criterion,
                    collection,
                    timings,
                    count=count,
                    enrolled=networks.enrolled,
                )

            with timings.measure("match_ms"):
                found = await self._parts.in_thread(matched)
            if found.decision.value not in UNKNOWN or found.probe is None:
                return found
            return replace(found, unknown=networks.unknown(found.probe, probe.embedding))

        answer = await self._parts.model.ask(identified)
        self._parts.attempts.end_identification(collection_id, answer)
        self._parts.checks.count(collection, answer.impostor)
        return answer


def one_match_each(answers: Sequence[Identification]) -> list[Identification]:
    """Resolve the answers for the faces of one picture, so that a subject matches at most one.

    Faces of one picture are different people.

    Greedy: the match with the largest margin takes its subject from the other faces, which may then
    match another candidate. Inconclusive faces take no subject.
    """
    claims = sorted(
        (
            (candidate.margin, face, candidate.hit.subject_id)
            for face, answer in enumerate(answers)
            if answer.decision is Decision.MATCH
            for candidate in answer.candidates
            if candidate.matched
        ),
        key=lambda claim: claim[0],
        reverse=True,
    )
    face_of: dict[str, int] = {}
    for _, face, subject_id in claims:
        if subject_id not in face_of and face not in face_of.values():
            face_of[subject_id] = face
    return [_settled(answer, face, face_of) for face, answer in enumerate(answers)]


def _settled(answer: Identification, face: int, face_of: dict[str, int]) -> Identification:
    if answer.decision is not Decision.MATCH:
        return answer
    candidates = [
        replace(candidate, taken=face_of.get(candidate.hit.subject_id, face) != face)
        for candidate in answer.candidates
    ]
    candidates.sort(key=lambda candidate: (not candidate.taken, candidate.margin), reverse=True)
    return replace(
        answer,
        decision=Decision.MATCH if candidates[0].matched else Decision.NO_MATCH,
        candidates=tuple(candidates),
    )
