"""From similarities to answers: what matches, how surely, and when nothing can be said."""

from collections.abc import Sequence

from recognizer_service.gallery.collection_records import Collection
from recognizer_service.gallery.records import Agreement, FaceReview, SubjectHit
from recognizer_service.questions import (
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
from recognizer_service.thresholds import Thresholds
from shared.errors import FailedPrecondition


class Judge:
    """Decides by calibrated thresholds and by the quality of what is compared.

    Args:
        thresholds: of the model in use.
        min_quality: in [0, 1]; nothing is concluded from faces below.
    """

    def __init__(self, thresholds: Thresholds, *, min_quality: float) -> None:
        self._thresholds = thresholds
        self._min_quality = min_quality

    def identification(
        self,
        face: FaceMap,
        hits: Sequence[SubjectHit],
        criterion: Criterion,
        collection: Collection,
        timings: Timings,
    ) -> Identification:
        """The answer to a search whose hits are sorted, most similar first.

        Raises:
            FailedPrecondition: NOT_CALIBRATED.
        """
        checked = face.quality is not None
        if not hits:
            return Identification(Decision.EMPTY_GALLERY, quality_checked=checked, timings=timings)
        thresholds = [
            self._thresholds.applied(
                criterion,
                default_rate=collection.max_fpir,
                faces=collection.comparisons,
                codecs=(face.codec_id, hit.codec_id),
            )
            for hit in hits
        ]
        candidates = tuple(
            Candidate(hit, matched=hit.similarity >= threshold.similarity)
            for hit, threshold in zip(hits, thresholds, strict=True)
        )
        return Identification(
            self._decide([face], matched=candidates[0].matched),
            candidates,
            thresholds[0],
            quality_checked=checked,
            timings=timings,
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
    ) -> Verification:
        """The answer to a comparison.

        Args:
            compared: the faces whose quality counts.
            similarity: cosine of the best of `faces` comparisons.
            criterion: how sure the answer must be.
            collection: whose default holds where `criterion` is silent.
            timings: where the time went.
            codecs: codec ids of both sides.
            faces: how many comparisons the similarity is the best of.
            face_id: the face it was best with, if it is an enrolled one.

        Raises:
            FailedPrecondition: NOT_CALIBRATED.
        """
        threshold = self._thresholds.applied(
            criterion, default_rate=collection.max_fmr, faces=faces, codecs=codecs
        )
        estimate, extrapolated = self._thresholds.fmr_at(similarity, codecs)
        return Verification(
            decision=self._decide(compared, matched=similarity >= threshold.similarity),
            similarity=similarity,
            threshold=threshold,
            estimated_fmr=estimate,
            estimate_extrapolated=extrapolated,
            face_id=face_id,
            quality_checked=any(face.quality is not None for face in compared),
            timings=timings,
        )

    def duplicate_similarity(self, faces: Sequence[FaceMap], collection: Collection) -> float:
        """The similarity that a stranger's faces reach once in 1 / max_fpir enrolments.

        Raises:
            FailedPrecondition: NOT_CALIBRATED.
        """
        codecs = {face.codec_id for face in faces}
        return max(
            self._thresholds.applied(
                Criterion(),
                default_rate=collection.max_fpir,
                faces=collection.comparisons,
                codecs=(codec_id, codec_id),
            ).similarity
            for codec_id in codecs
        )

    def disagreements(
        self, agreements: Sequence[Agreement], collection: Collection
    ) -> tuple[Disagreement, ...]:
        """New faces that Verify would not have taken for their subject, as it was before.

        Where the model is not calibrated for the codecs nothing can be said.
        """
        found = []
        for agreement in agreements:
            try:
                threshold = self._thresholds.applied(
                    Criterion(),
                    default_rate=collection.max_fmr,
                    faces=agreement.earlier_faces,
                    codecs=agreement.codec_ids,
                )
            except FailedPrecondition:
                continue
            if agreement.similarity < threshold.similarity:
                similarity = agreement.similarity
                found.append(Disagreement(agreement.face_id, similarity, threshold.similarity))
        return tuple(found)

    def doubts(self, reviews: Sequence[FaceReview], collection: Collection) -> tuple[Doubt, ...]:
        """Faces that look like another subject, or unlike the others of their own.

        By what is asked of duplicates and of verifications. Where the model is not calibrated for
        the codecs nothing can be said.
        """
        found = []
        for face in reviews:
            for hit in face.others:
                threshold = self._threshold(
                    collection.max_fpir, collection.comparisons, (face.codec_id, hit.codec_id)
                )
                if threshold is not None and hit.similarity >= threshold:
                    found.append(
                        Doubt(face.face_id, hit.subject_id, hit.face_id, hit.similarity, threshold)
                    )
            if own := face.agreement:
                threshold = self._threshold(collection.max_fmr, own.earlier_faces, own.codec_ids)
                if threshold is not None and own.similarity < threshold:
                    found.append(
                        Doubt(face.face_id, "", face.nearest_face_id, own.similarity, threshold)
                    )
        return tuple(found)

    def _threshold(self, rate: float, faces: int, codecs: tuple[str, str]) -> float | None:
        try:
            applied = self._thresholds.applied(
                Criterion(), default_rate=rate, faces=faces, codecs=codecs
            )
        except FailedPrecondition:
            return None
        return applied.similarity

    def _decide(self, judged: Sequence[FaceMap], *, matched: bool) -> Decision:
        if any(face.quality is not None and face.quality < self._min_quality for face in judged):
            return Decision.LOW_QUALITY
        return Decision.MATCH if matched else Decision.NO_MATCH
