"""Converts between domain types and protobuf messages, and validates the shape of requests."""

from collections.abc import Mapping

from compactface.v1 import compact_map_pb2, gallery_pb2, recognizer_pb2
from recognizer_service.core.drift import LEAST_PROBES, CalibrationCheck, Verdict
from recognizer_service.core.quality import flaws
from recognizer_service.core.types import (
    AppliedThreshold,
    Candidate,
    Criterion,
    Decision,
    FaceMap,
    Identification,
    Probe,
    Question,
    SightingId,
    Timings,
    Verification,
)
from recognizer_service.gallery.collections import DEFAULT_COLLECTION
from recognizer_service.gallery.limits import check_share, check_text
from recognizer_service.gallery.sightings.types import SightingOutcome
from shared.demand import current_demand
from shared.errors import InvalidInput
from shared.model_directory.configs import CodecSpec
from shared.serving.timestamps import moment, timestamp

IDENTIFY_DECISIONS = {
    Decision.MATCH: recognizer_pb2.IDENTIFY_DECISION_MATCH,
    Decision.NO_MATCH: recognizer_pb2.IDENTIFY_DECISION_NO_MATCH,
    Decision.LOW_QUALITY: recognizer_pb2.IDENTIFY_DECISION_LOW_QUALITY,
    Decision.EMPTY_GALLERY: recognizer_pb2.IDENTIFY_DECISION_EMPTY_GALLERY,
}
_VERIFY_DECISIONS = {
    Decision.MATCH: recognizer_pb2.VERIFY_DECISION_MATCH,
    Decision.NO_MATCH: recognizer_pb2.VERIFY_DECISION_NO_MATCH,
    Decision.LOW_QUALITY: recognizer_pb2.VERIFY_DECISION_LOW_QUALITY,
}

_OUTCOMES = {
    SightingOutcome.STORED: recognizer_pb2.StreamMapsResponse.OUTCOME_STORED,
    SightingOutcome.DUPLICATE: recognizer_pb2.StreamMapsResponse.OUTCOME_DUPLICATE,
    SightingOutcome.DISCARDED: recognizer_pb2.StreamMapsResponse.OUTCOME_DISCARDED,
}
_VERDICTS = {
    Verdict.TOO_FEW: gallery_pb2.CalibrationCheck.VERDICT_TOO_FEW,
    Verdict.HOLDS: gallery_pb2.CalibrationCheck.VERDICT_HOLDS,
    Verdict.HIGHER: gallery_pb2.CalibrationCheck.VERDICT_HIGHER,
}


def collection_id(named: str) -> str:
    """Return the collection that a request names, or the default."""
    return named or DEFAULT_COLLECTION


def face_map(message: compact_map_pb2.CompactMap, *, field: str) -> FaceMap:
    """Convert a map; `field` is its path in the request.

    Raises:
        InvalidInput: INVALID_TIME or OUT_OF_RANGE.
    """
    return FaceMap(
        codec_id=message.codec_id,
        png=message.png,
        quality=message.quality if message.HasField("quality") else None,
        liveness=_liveness(message, field=field),
        capture_time=moment(message.capture_time, field=f"{field}.capture_time")
        if message.HasField("capture_time")
        else None,
        field=field,
    )


def _liveness(message: compact_map_pb2.CompactMap, *, field: str) -> float | None:
    if not message.HasField("liveness"):
        return None
    check_share(message.liveness, f"{field}.liveness")
    return message.liveness


def probe(message: recognizer_pb2.Probe) -> Probe:
    """Convert a probe; its path in the request is "probe".

    Raises:
        InvalidInput: NO_PROBE, neither a map nor a sighting; otherwise as `face_map`.
    """
    source = message.WhichOneof("source")
    if source is None:
        raise InvalidInput("NO_PROBE", "the probe has neither map nor sighting_id", field="probe")
    if source == "sighting_id":
        return SightingId(message.sighting_id)
    return face_map(message.map, field="probe.map")


def question(request: recognizer_pb2.IdentifyRequest) -> Question:
    """Convert an Identify request, alone or in a batch.

    Raises:
        InvalidInput: as `probe`; INVALID_LENGTH or UNPRINTABLE_TEXT for the picture's name.
    """
    check_text(request.picture, "picture", least=0)
    return Question(
        collection_id(request.collection),
        probe(request.probe),
        identify_criterion(request.threshold),
        max_subjects=request.max_subjects or 1,
        picture=request.picture,
    )


def identify_criterion(message: recognizer_pb2.IdentifyThreshold) -> Criterion:
    """Convert an identification threshold; an empty message means the collection's default."""
    kind = message.WhichOneof("criterion")
    return Criterion(
        max_rate=message.max_fpir if kind == "max_fpir" else None,
        min_similarity=message.min_similarity if kind == "min_similarity" else None,
    )


def verify_criterion(message: recognizer_pb2.VerifyThreshold) -> Criterion:
    """Convert a verification threshold; an empty message means the collection's default."""
    kind = message.WhichOneof("criterion")
    return Criterion(
        max_rate=message.max_fmr if kind == "max_fmr" else None,
        min_similarity=message.min_similarity if kind == "min_similarity" else None,
    )


def identify_response(answer: Identification) -> recognizer_pb2.IdentifyResponse:
    """Build the response to Identify; untrusted callers see matches only."""
    trusted = current_demand().trusted
    return recognizer_pb2.IdentifyResponse(
        decision=IDENTIFY_DECISIONS[answer.decision],
        candidates=[
            _candidate(candidate)
            for candidate in answer.candidates
            if trusted or (candidate.matched and answer.decision is Decision.MATCH)
        ],
        threshold=_threshold(answer.threshold) if answer.threshold else None,
        quality_checked=answer.quality_checked,
        timings=_timings(answer.timings),
        similarities_withheld=not trusted,
        probe_quality=(answer.probe and answer.probe.quality) or 0.0,
        probe_flaws=_flaws(answer.probe),
    )


def verify_response(answer: Verification) -> recognizer_pb2.VerifyResponse:
    """Build the response to Verify."""
    trusted = current_demand().trusted
    return recognizer_pb2.VerifyResponse(
        decision=_VERIFY_DECISIONS[answer.decision],
        similarity=shown_similarity(answer.similarity),
        estimated_fmr=(answer.estimated_fmr or 0.0) if trusted else 0.0,
        estimate_extrapolated=answer.estimate_extrapolated and trusted,
        threshold=_threshold(answer.threshold),
        face_id=answer.face_id if trusted or answer.decision is Decision.MATCH else "",
        quality_checked=answer.quality_checked,
        timings=_timings(answer.timings),
        similarities_withheld=not trusted,
        lowest_quality=answer.lowest_quality or 0.0,
        probe_flaws=_flaws(answer.probe),
    )


def outcome(outcome: SightingOutcome) -> recognizer_pb2.StreamMapsResponse.Outcome:
    """Build the response for one streamed map."""
    return _OUTCOMES[outcome]


def codec_messages(codecs: Mapping[str, CodecSpec]) -> list[recognizer_pb2.Codec]:
    """Build the codec messages, by operating point."""
    return [
        recognizer_pb2.Codec(
            codec_id=codec.codec_id,
            operating_point=point,
            channels=codec.channels,
            levels=codec.levels,
            layout=codec.layout,
            spared=codec.spared,
        )
        for point, codec in codecs.items()
    ]


def calibration_check(check: CalibrationCheck) -> gallery_pb2.CalibrationCheck:
    """Build the message of a calibration check."""
    return gallery_pb2.CalibrationCheck(
        verdict=_VERDICTS[check.verdict],
        probes=check.probes,
        min_probes=LEAST_PROBES,
        expected_rate=check.expected,
        observed_rate=check.observed,
        low=check.low,
        high=check.high,
        since_time=timestamp(check.since) if check.since else None,
    )


def shown_similarity(similarity: float) -> float:
    """Return the similarity to show: rounded to 0.001 with the scope admin, 0 without."""
    return round(similarity, 3) if current_demand().trusted else 0.0


def _candidate(candidate: Candidate) -> recognizer_pb2.Candidate:
    return recognizer_pb2.Candidate(
        subject_id=candidate.hit.subject_id,
        display_name=candidate.hit.display_name,
        face_id=candidate.hit.face_id,
        similarity=shown_similarity(candidate.hit.similarity),
        matched=candidate.matched,
        threshold=candidate.threshold.similarity,
        taken=candidate.taken,
    )


def _threshold(threshold: AppliedThreshold) -> recognizer_pb2.AppliedThreshold:
    methods = recognizer_pb2.AppliedThreshold
    return recognizer_pb2.AppliedThreshold(
        similarity=threshold.similarity,
        fmr=threshold.fmr or 0.0,
        faces=threshold.faces,
        method=methods.METHOD_CALIBRATION if threshold.calibrated else methods.METHOD_SIMILARITY,
        extrapolated=threshold.extrapolated,
        allowance=threshold.allowance,
        alike=threshold.alike,
    )


def _flaws(probe: FaceMap | None) -> compact_map_pb2.Flaws | None:
    """Build the flaws of a probe; names unknown to the protocol are left out."""
    found = flaws(probe) if probe else {}
    known = compact_map_pb2.Flaws.DESCRIPTOR.fields_by_name
    return (
        compact_map_pb2.Flaws(**{n: v for n, v in found.items() if n in known}) if found else None
    )


def _timings(timings: Timings) -> recognizer_pb2.RecognizeTimings:
    return recognizer_pb2.RecognizeTimings(
        unpack_ms=timings.unpack_ms, embed_ms=timings.embed_ms, match_ms=timings.match_ms
    )
