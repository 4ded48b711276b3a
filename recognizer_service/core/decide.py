"""Turns similarities into decisions: match, no match or inconclusive."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from recognizer_service.core import drift
from recognizer_service.core.doubts import Required, doubts, nearest_miss
from recognizer_service.core.quality import (
    LEAST_ALLOWANCE,
    NO_ALLOWANCE,
    Allowance,
    allowance,
)
from recognizer_service.core.thresholds import Thresholds
from recognizer_service.core.types import (
    Candidate,
    Criterion,
    Decision,
    Disagreement,
    Doubt,
    FaceMap,
    Identification,
    Timings,
    Verification,
)
from recognizer_service.gallery.codec_thresholds import CodecThresholds
from recognizer_service.gallery.types import (
    Agreement,
    Collection,
    FaceReview,
    Resemblance,
    SubjectHit,
)
from shared.errors import FailedPrecondition


class Judge:
    """Decides by calibrated thresholds and face quality.

    Args:
        thresholds: thresholds of the model in use.
        min_quality: in [0, 1]; faces below it are inconclusive.
    """

    def __init__(self, thresholds: Thresholds, *, min_quality: float) -> None:
        self._thresholds = thresholds
        self._min_quality = min_quality

    def identification_thresholds(
        self, face: FaceMap, criterion: Criterion, collection: Collection
    ) -> CodecThresholds:
        """Return the thresholds of a search, by which the best hits are chosen."""
        return self._thresholds.by_codec(
            criterion,
            default_rate=collection.max_fpir,
            faces=collection.comparisons,
            probe_codec=face.codec_id,
            allowance=LEAST_ALLOWANCE,
        )

    def identification(
        self,
        face: FaceMap,
        hits: Sequence[SubjectHit],
        criterion: Criterion,
        collection: Collection,
        timings: Timings,
        *,
        count: int,
        enrolled: Callable[[SubjectHit], FaceMap | None],
    ) -> Identification:
        """Decide a search by the hit that is furthest above its threshold.

        This need not be the most similar hit: thresholds differ between pairs of codecs, and depend
        on flaws that both faces share. Allowances only raise thresholds, so that a face is judged
        only if it would be among the best `count` without one.

        Args:
            face: the probe.
            hits: the most similar subjects.
            criterion: how sure the answer must be.
            collection: supplies the default if `criterion` is empty.
            timings: stage timings.
            count: number of candidates to return, at least 1.
            enrolled: judges the face of a hit; None if it cannot be judged.

        Raises:
            FailedPrecondition: NOT_CALIBRATED.
        """
        checked = face.quality is not None
        if not hits:
            return Identification(
                Decision.EMPTY_GALLERY, quality_checked=checked, timings=timings, probe=face
            )

        @cache
        def allowance_to(hit: SubjectHit) -> Allowance:
            other = enrolled(hit)
            return allowance(face, other) if other else NO_ALLOWANCE

        def candidate(
            hit: SubjectHit, allowed: Allowance = LEAST_ALLOWANCE, criterion: Criterion = criterion
        ) -> Candidate:
            threshold = self._thresholds.applied(
                criterion,
                default_rate=collection.max_fpir,
                faces=collection.comparisons,
                codecs=(face.codec_id, hit.codec_id),
                allowance=allowed,
            )
            return Candidate(hit, threshold)

        candidates: list[Candidate] = []
        for bare in _best_first(map(candidate, hits)):
            if len(candidates) == count and bare.margin <= candidates[-1].margin:
                break
            found = candidate(bare.hit, allowance_to(bare.hit))
            candidates = _best_first([*candidates, found])[:count]
        answer = Identification(
            self._decide([face], matched=candidates[0].matched),
            tuple(candidates),
            quality_checked=checked,
            timings=timings,
            probe=face,
        )

        def reaches(hit: SubjectHit) -> bool:
            rate = Criterion(max_rate=drift.RATE)
            # An allowance only raises the threshold.
            return (
                candidate(hit, criterion=rate).matched
                and candidate(hit, allowance_to(hit), criterion=rate).matched
            )

        return replace(answer, impostor=drift.impostor_of(answer, hits, reaches))

    def stranger_thresholds(self, face: FaceMap, rate: float, faces: int) -> CodecThresholds:
        """Return the thresholds at which an unknown face joins one of `faces` of strangers."""
        return self._thresholds.by_codec(
            Criterion(max_rate=rate), default_rate=rate, faces=faces, probe_codec=face.codec_id
        )

    def verification_thresholds(
        self, face: FaceMap, criterion: Criterion, collection: Collection, *, faces: int
    ) -> CodecThresholds:
        """Return the thresholds of a verification, by which the best of `faces` is chosen."""
        return self._thresholds.by_codec(
            criterion,
            default_rate=collection.max_fmr,
            faces=faces,
            probe_codec=face.codec_id,
            allowance=LEAST_ALLOWANCE,
        )

    def verification(
        self,
        compared: Sequence[FaceMap],
        similarity: float,
        criterion: Criterion,
        collection: Collection,
        timings: Timings,
        *,
        codecs: tuple[str, str],
        faces: int = 1,
        face_id: str = "",
        reference: FaceMap | None = None,
    ) -> Verification:
        """Decide a comparison.

        Args:
            compared: the faces whose quality counts, the probe first.
            similarity: cosine of the best of `faces` comparisons.
            criterion: how sure the answer must be.
            collection: supplies the default if `criterion` is empty.
            timings: stage timings.
            codecs: codec ids of both sides.
            faces: number of comparisons.
            face_id: the most similar face, if it is enrolled.
            reference: the face that the probe was compared with.

        Raises:
            FailedPrecondition: NOT_CALIBRATED.
        """
        alike = allowance(compared[0], reference) if reference else NO_ALLOWANCE
        threshold = self._thresholds.applied(
            criterion,
            default_rate=collection.max_fmr,
            faces=faces,
            codecs=codecs,
            allowance=alike,
        )
        estimate, extrapolated = self._thresholds.fmr_at(similarity, codecs, alike)
        qualities = [face.quality for face in compared if face.quality is not None]
        return Verification(
            decision=self._decide(compared, matched=similarity >= threshold.similarity),
            similarity=similarity,
            threshold=threshold,
            estimated_fmr=estimate,
            estimate_extrapolated=extrapolated,
            face_id=face_id,
            quality_checked=bool(qualities),
            timings=timings,
            lowest_quality=min(qualities, default=None),
            probe=compared[0],
        )

    def duplicate_thresholds(
        self, faces: Sequence[FaceMap], collection: Collection
    ) -> Mapping[str, CodecThresholds]:
        """Return thresholds for duplicates, by the new face's codec.

        A stranger's face reaches them once in 1 / max_fpir enrollments.

        Raises:
            FailedPrecondition: NOT_CALIBRATED for one of the codecs.
        """
        rate, count = collection.max_fpir, collection.comparisons
        found = {}
        for codec_id in {face.codec_id for face in faces}:
            self._thresholds.applied(
                Criterion(), default_rate=rate, faces=count, codecs=(codec_id, codec_id)
            )
            found[codec_id] = self._thresholds.by_codec(
                Criterion(),
                default_rate=rate,
                faces=count,
                probe_codec=codec_id,
                allowance=self._thresholds.least_allowance,
            )
        return found

    def disagreements(
        self, agreements: Sequence[Agreement], collection: Collection
    ) -> tuple[Disagreement, ...]:
        """Return new faces that Verify would not match with their subject.

        Flaws that faces share are not considered. Faces of codecs without calibration are skipped.
        """
        return doubts(agreements, self._required(collection))

    def doubts(self, reviews: Sequence[FaceReview], collection: Collection) -> tuple[Doubt, ...]:
        """Return faces that look like another subject, or unlike their own.

        Uses the thresholds of duplicates and of verifications. Faces of codecs without calibration
        are skipped.
        """
        found = []
        for review in reviews:
            face = review.agreement
            for hit in review.others:
                threshold = self._threshold(
                    collection.max_fpir, collection.comparisons, (face.codec_id, hit.codec_id)
                )
                if threshold is not None and hit.similarity >= threshold:
                    found.append(
                        Doubt(face.face_id, hit.subject_id, hit.face_id, hit.similarity, threshold)
                    )
            if missed := nearest_miss(face, face.others, self._required(collection)):
                other, threshold = missed
                found.append(Doubt(face.face_id, "", other.face_id, other.similarity, threshold))
        return tuple(found)

    def _required(self, collection: Collection) -> Required:
        """Return the verification threshold for two faces of a subject."""

        def required(agreement: Agreement, other: Resemblance) -> float | None:
            codecs = (agreement.codec_id, other.codec_id)
            return self._threshold(collection.max_fmr, len(agreement.others), codecs)

        return required

    def _threshold(self, rate: float, faces: int, codecs: tuple[str, str]) -> float | None:
        try:
            applied = self._thresholds.applied(
                Criterion(),
                default_rate=rate,
                faces=faces,
                codecs=codecs,
                allowance=self._thresholds.least_allowance,
            )
        except FailedPrecondition:
            return None
        return applied.similarity

    def _decide(self, judged: Sequence[FaceMap], *, matched: bool) -> Decision:
        if any(face.quality is not None and face.quality < self._min_quality for face in judged):
            return Decision.LOW_QUALITY
        return Decision.MATCH if matched else Decision.NO_MATCH


def _best_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: candidate.margin, reverse=True)
