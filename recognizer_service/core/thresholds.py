"""Converts a required error rate into a similarity threshold."""

from functools import lru_cache

from recognizer_service.core.quality import NO_ALLOWANCE, Allowance
from recognizer_service.core.types import AppliedThreshold, Criterion
from recognizer_service.gallery.codec_thresholds import CodecThresholds
from shared.calibration import CalibrationTable, Threshold, identification_fmr
from shared.errors import FailedPrecondition, InvalidInput
from shared.model_directory import Manifest

_KEPT = 256
"""Thresholds to keep; callers may ask for any rate."""


def check_criterion(criterion: Criterion, *, rate_name: str) -> None:
    """Check that a threshold is in range; NaN fails every comparison.

    Raises:
        InvalidInput: INVALID_THRESHOLD; the value is out of range.
    """
    rate, similarity = criterion.max_rate, criterion.min_similarity
    if rate is not None and not 0 < rate < 1:
        raise InvalidInput(
            "INVALID_THRESHOLD",
            f"{rate_name} is {rate}; it must be in (0, 1)",
            field=f"threshold.{rate_name}",
        )
    if similarity is not None and not -1 <= similarity <= 1:
        raise InvalidInput(
            "INVALID_THRESHOLD",
            f"min_similarity is {similarity}; it must be in [-1, 1]",
            field="threshold.min_similarity",
        )


class Thresholds:
    """Thresholds for pairs of codecs, from one model's calibration.

    Attributes:
        least_allowance: the allowance for two faces without flaws.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        # A search asks many times for few of them.
        self._measured = lru_cache(maxsize=_KEPT)(self._measure)
        self._calibrated = lru_cache(maxsize=_KEPT)(self._calibrate)
        heads = manifest.quality.values()
        self.least_allowance = Allowance(max((head.resembling for head in heads), default=0.0))

    def applied(
        self,
        criterion: Criterion,
        *,
        default_rate: float,
        faces: int,
        codecs: tuple[str, str],
        allowance: Allowance = NO_ALLOWANCE,
    ) -> AppliedThreshold:
        """Return the threshold for the best of `faces` comparisons.

        The probability that the best of N strangers' similarities reaches the threshold equals the
        required rate, so that each comparison is made at 1 - (1 - rate)^(1/N).

        Args:
            criterion: what the caller asks for.
            default_rate: the collection's rate, used if `criterion` is empty.
            faces: N, the number of comparisons; 0 counts as 1.
            codecs: codec ids of probe and enrollment.
            allowance: for flaws that both faces share; not added to a caller's similarity.

        Raises:
            FailedPrecondition: NOT_CALIBRATED, unless the caller gave a similarity.
        """
        faces = max(1, faces)
        if criterion.min_similarity is not None:
            return self._of_similarity(criterion.min_similarity, faces, codecs)
        rate = default_rate if criterion.max_rate is None else criterion.max_rate
        fmr = identification_fmr(rate, faces)
        found = self._measured(codecs, fmr, judged=allowance.judged)
        return AppliedThreshold(
            similarity=min(1.0, found.similarity + allowance.similarity),
            fmr=fmr,
            faces=faces,
            calibrated=True,
            extrapolated=found.extrapolated,
            allowance=allowance.similarity,
            alike=allowance.alike,
        )

    def by_codec(
        self,
        criterion: Criterion,
        *,
        default_rate: float,
        faces: int,
        probe_codec: str,
        allowance: Allowance = NO_ALLOWANCE,
    ) -> CodecThresholds:
        """Return the thresholds by enrolled codec, for all calibrated codecs.

        Args:
            criterion: as in `applied`.
            default_rate: as in `applied`.
            faces: as in `applied`.
            probe_codec: codec id of the probe.
            allowance: as in `applied`.
        """
        if criterion.min_similarity is not None:
            return CodecThresholds(others=criterion.min_similarity)
        enrolled = (codec.codec_id for codec in self._manifest.codecs.values())
        return CodecThresholds(
            {
                codec_id: self.applied(
                    criterion,
                    default_rate=default_rate,
                    faces=faces,
                    codecs=(probe_codec, codec_id),
                    allowance=allowance,
                ).similarity
                for codec_id in enrolled
                if self._table((probe_codec, codec_id), judged=allowance.judged)
            }
        )

    def fmr_at(
        self, similarity: float, codecs: tuple[str, str], allowance: Allowance = NO_ALLOWANCE
    ) -> tuple[float | None, bool]:
        """Return a similarity's estimated FMR and whether it is extrapolated; None uncalibrated."""
        table = self._table(codecs, judged=allowance.judged)
        if table is None:
            return None, False
        estimate = table.fmr_at(max(-1.0, similarity - allowance.similarity))
        return estimate.fmr, estimate.extrapolated

    def _measure(self, codecs: tuple[str, str], fmr: float, *, judged: bool) -> Threshold:
        return self._calibrated(codecs, judged=judged).threshold(fmr)

    def _calibrate(self, codecs: tuple[str, str], *, judged: bool) -> CalibrationTable:
        if judged:
            return self._manifest.calibration_less_allowance(*codecs)
        return self._manifest.calibration_for(*codecs)

    def _of_similarity(
        self, similarity: float, faces: int, codecs: tuple[str, str]
    ) -> AppliedThreshold:
        fmr, extrapolated = self.fmr_at(similarity, codecs)
        return AppliedThreshold(
            similarity=similarity,
            fmr=fmr,
            faces=faces,
            calibrated=False,
            extrapolated=extrapolated,
        )

    def _table(self, codecs: tuple[str, str], *, judged: bool) -> CalibrationTable | None:
        try:
            return self._calibrated(codecs, judged=judged)
        except FailedPrecondition:
            return None
