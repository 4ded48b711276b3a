"""Verification (1:1): whether two faces show the same person."""

from collections.abc import Awaitable, Callable

import numpy as np

from recognizer_service.core.attempts import Whom
from recognizer_service.core.liveness import check_liveness
from recognizer_service.core.networks import Networks
from recognizer_service.core.parts import Parts, embedded
from recognizer_service.core.thresholds import check_criterion
from recognizer_service.core.types import (
    Criterion,
    FaceMap,
    Probe,
    SightingId,
    Timings,
    Verification,
)


class Verifier:
    """Compares a probe with another map, or with a subject."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def verify_map(
        self, collection_id: str, probe: Probe, reference: FaceMap, criterion: Criterion
    ) -> Verification:
        """Decide whether two maps show the same person; raises as `Identifier.identify`.

        Liveness is required of the probe only; the reference may be a photograph of a document.
        Two maps of the caller's own tell it nothing of others. A sighting's map does, and failures
        are limited as those against a subject.
        """
        check_criterion(criterion, rate_name="max_fmr")
        self._parts.model.networks.check(2)
        timings = Timings()
        collection = await self._parts.collection(collection_id)
        check_liveness(collection, [probe])
        self._parts.attempts.check_stated(criterion, collection.max_fmr, rate_name="max_fmr")
        face = await self._parts.face(collection_id, probe)

        async def verified(networks: Networks) -> Verification:
            both = await embedded(networks, [face, reference], timings)

            def matched() -> Verification:
                probe_face, other = map(networks.judged, both)
                ours, theirs = (each.embedding for each in both)
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
                return await self._parts.in_thread(matched)

        if isinstance(probe, SightingId):
            return await self._attempted(collection_id, probe, verified)
        return self._answered(await verified(self._parts.model.networks))

    async def verify_subject(
        self, collection_id: str, probe: Probe, subject_id: str, criterion: Criterion
    ) -> Verification:
        """Decide whether the probe shows an enrolled subject.

        Raises:
            NotFound: no such subject.
            FailedPrecondition: SUBJECT_HAS_NO_FACES.
            CompactfaceError: as `Identifier.identify`.
        """
        check_criterion(criterion, rate_name="max_fmr")
        self._parts.model.networks.check(1)
        timings = Timings()
        collection = await self._parts.collection(collection_id)
        check_liveness(collection, [probe])
        subject, _ = await self._parts.in_thread(
            self._parts.gallery.subjects.get, collection_id, subject_id
        )
        self._parts.attempts.check_stated(criterion, collection.max_fmr, rate_name="max_fmr")
        faces = 1 if collection.by_template else subject.face_count
        face = await self._parts.face(collection_id, probe)

        async def verified(networks: Networks) -> Verification:
            (opened,) = await embedded(networks, [face], timings)

            def matched() -> Verification:
                hit = self._parts.gallery.similarity_to_subject(
                    collection_id,
                    subject_id,
                    opened.embedding,
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
                return await self._parts.in_thread(matched)

        return await self._attempted(collection_id, subject_id, verified)

    async def _attempted(
        self,
        collection_id: str,
        whom: Whom,
        verified: Callable[[Networks], Awaitable[Verification]],
    ) -> Verification:
        """Verify within the caller's attempts."""
        self._parts.attempts.begin_verification(collection_id, whom)
        answer = None
        try:
            answer = await self._parts.model.ask(verified)
        finally:
            self._parts.attempts.end_verification(collection_id, whom, answer)
        return self._answered(answer)

    def _answered(self, answer: Verification) -> Verification:
        self._parts.metrics.answered("verify", answer)
        return answer
