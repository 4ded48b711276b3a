"""Prometheus metrics of the recognizer, besides those of the calls themselves."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from recognizer_service.core.drift import CalibrationCheck, Totals, Verdict
from recognizer_service.core.types import Identification, Verification
from recognizer_service.gallery.sightings.types import SightingOutcome
from recognizer_service.gallery.types import Collection
from shared.model_directory import Manifest
from shared.serving.buckets import QUALITY_BUCKETS, STAGE_BUCKETS_S

_MOST_COLLECTIONS = 100
_REFUSED = "refused"


class RecognizerMetrics:
    """Metrics of batches, decisions, sightings, stages and gallery size."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.model = Info("compactface_model", "The model in use.", registry=registry)
        self.reembedding = Gauge(
            "compactface_reembedding_running",
            "1 while the gallery is embedded for another model.",
            registry=registry,
        )
        self.reembedded = Gauge(
            "compactface_reembedding_faces_done",
            "Faces embedded in this change of model.",
            registry=registry,
        )
        self.to_reembed = Gauge(
            "compactface_reembedding_faces_total",
            "Faces to embed in this change of model.",
            registry=registry,
        )
        self.erasures = Gauge(
            "compactface_erasures_pending",
            "Deletions whose bytes are on the disk yet.",
            registry=registry,
        )
        self.clock_doubted = Gauge(
            "compactface_clock_doubted",
            "1 while data expire by elapsed time, since the system clock jumped.",
            registry=registry,
        )
        self._batch_size = Histogram(
            "compactface_batch_size",
            "Maps in one pass of the networks.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
        self._wait = Histogram(
            "compactface_queue_wait_seconds",
            "Longest wait of a batch's maps.",
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._queued = Gauge(
            "compactface_queue_depth", "Maps left waiting as a batch starts.", registry=registry
        )
        self._decisions = Counter(
            "compactface_decisions",
            "Answers to Identify and Verify.",
            ("question", "decision"),
            registry=registry,
        )
        self._sightings = Counter(
            "compactface_sightings", "Streamed maps by outcome.", ("outcome",), registry=registry
        )
        self._camera_maps = Counter(
            "compactface_camera_maps",
            "Streamed maps by camera and outcome.",
            ("camera", "outcome"),
            registry=registry,
        )
        self._camera_seen = Gauge(
            "compactface_camera_last_map_timestamp_seconds",
            "When the last map of a camera came.",
            ("camera",),
            registry=registry,
        )
        self._sightings_identified = Counter(
            "compactface_sightings_identified",
            "Sightings by what came of identifying them: a decision, or the reason of an error.",
            ("result",),
            registry=registry,
        )
        self.alerts_delivered = Counter(
            "compactface_alerts_delivered", "Alerts that their targets took.", registry=registry
        )
        self.alert_failures = Counter(
            "compactface_alert_failures",
            "Tries to deliver an alert that failed; they are repeated.",
            registry=registry,
        )
        self.alerts_dropped = Counter(
            "compactface_alerts_dropped",
            "Alerts that nobody was told of: too many waited, or the sighting's time was over.",
            ("reason",),
            registry=registry,
        )
        for reason in ("full", "expired"):
            self.alerts_dropped.labels(reason)  # start at 0
        self.alerts_waiting = Gauge(
            "compactface_alerts_waiting", "Alerts that wait for their targets.", registry=registry
        )
        self.alerts_oldest = Gauge(
            "compactface_alerts_oldest_seconds",
            "How long the oldest of them has waited.",
            registry=registry,
        )
        self._stages = Histogram(
            "compactface_stage_seconds",
            "Seconds a question spends in each stage.",
            ("stage",),
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._similarity = Histogram(
            "compactface_similarity",
            "Similarity to the best candidate, or to the reference; 0 if it is negative.",
            ("question", "decision"),
            buckets=(0, 0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1),
            registry=registry,
        )
        self._quality = Histogram(
            "compactface_probe_quality",
            "Quality of probes, where it is known.",
            ("question",),
            buckets=QUALITY_BUCKETS,
            registry=registry,
        )
        self._near_misses = Counter(
            "compactface_near_misses",
            "Answers NO_MATCH that were within 0.05 of the threshold.",
            ("question",),
            registry=registry,
        )
        self._attempts_refused = Counter(
            "compactface_attempts_refused",
            "Questions refused as their caller has been wrong too often.",
            ("question",),
            registry=registry,
        )
        for question in ("identify", "verify"):  # start at 0
            self._near_misses.labels(question)
            self._attempts_refused.labels(question)

    def missed_nearly(self, question: str) -> None:
        """Count a near miss."""
        self._near_misses.labels(question).inc()

    def attempt_refused(self, question: str) -> None:
        """Count a question refused for lack of attempts."""
        self._attempts_refused.labels(question).inc()

    def serves(self, manifest: Manifest) -> None:
        """Record which model is in use."""
        self.model.info({"family": manifest.family, "version": manifest.version})

    def batch_started(self, *, size: int, longest_wait_s: float, queued: int) -> None:
        """Record one forward pass."""
        self._batch_size.observe(size)
        self._wait.observe(longest_wait_s)
        self._queued.set(queued)

    def answered(self, question: str, answer: Identification | Verification) -> None:
        """Count one answer, and record its stage timings, similarity and quality."""
        self._decisions.labels(question, answer.decision.value).inc()
        self.compared(question, answer)
        timings = answer.timings
        for stage, milliseconds in (
            ("unpack", timings.unpack_ms),
            ("embed", timings.embed_ms),
            ("match", timings.match_ms),
        ):
            self._stages.labels(stage).observe(milliseconds / 1000)

    def compared(self, question: str, answer: Identification | Verification) -> None:
        """Record the similarity and the probe's quality of an answer."""
        similarity: float | None
        if isinstance(answer, Verification):
            similarity = answer.similarity
        else:
            similarity = answer.candidates[0].hit.similarity if answer.candidates else None
        if similarity is not None:
            # Sums are kept only of values that are not negative.
            self._similarity.labels(question, answer.decision.value).observe(max(similarity, 0))
        if answer.probe is not None and answer.probe.quality is not None:
            self._quality.labels(question).observe(answer.probe.quality)

    def sighting_identified(self, result: str) -> None:
        """Count the result of identifying one sighting."""
        self._sightings_identified.labels(result).inc()

    def sighted(self, camera: str, outcome: SightingOutcome | None) -> None:
        """Count one streamed map of a camera; None: it was refused."""
        if outcome is not None:
            self._sightings.labels(outcome.name.lower()).inc()
        self._camera_maps.labels(camera, outcome.name.lower() if outcome else _REFUSED).inc()
        self._camera_seen.labels(camera).set_to_current_time()


class GalleryCollector(Collector):
    """The size of the gallery, read at every scrape.

    Collections have series of their own if they are among the 100 with the most faces.

    Args:
        read: returns all collections.
    """

    def __init__(self, read: Callable[[], Sequence[Collection]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        collections = sorted(self._read(), key=lambda each: each.face_count, reverse=True)
        total = sum(each.face_count for each in collections)
        yield GaugeMetricFamily("compactface_gallery_faces", "Faces enrolled.", value=total)
        for what in ("faces", "subjects"):
            family = GaugeMetricFamily(
                f"compactface_collection_{what}",
                f"{what.capitalize()} of a collection.",
                labels=("collection",),
            )
            for each in collections[:_MOST_COLLECTIONS]:
                count = each.face_count if what == "faces" else each.subject_count
                family.add_metric((each.collection_id,), count)
            yield family


class CalibrationCollector(Collector):
    """How far the calibration holds, read at every scrape.

    Args:
        read: returns the collections whose probes were counted, at most 100.
    """

    def __init__(self, read: Callable[[], Sequence[tuple[str, CalibrationCheck, Totals]]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        labels = ("collection",)
        probes = CounterMetricFamily(
            "compactface_calibration_probes",
            "Probes that check the calibration.",
            labels=labels,
        )
        expected = CounterMetricFamily(
            "compactface_calibration_expected",
            "Of them, those expected to reach the checked threshold, by the calibration.",
            labels=labels,
        )
        exceeded = CounterMetricFamily(
            "compactface_calibration_exceeded", "Those that did.", labels=labels
        )
        drifts = GaugeMetricFamily(
            "compactface_calibration_drifts",
            "1 while significantly more probes resemble strangers than calibrated.",
            labels=labels,
        )
        for collection, check, totals in self._read():
            probes.add_metric((collection,), totals.probes)
            expected.add_metric((collection,), totals.expected)
            exceeded.add_metric((collection,), totals.exceeded)
            drifts.add_metric((collection,), check.verdict is Verdict.HIGHER)
        yield from (probes, expected, exceeded, drifts)
