"""Prometheus metrics of the recognizer, besides those of the calls themselves."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from recognizer_service.core.types import Decision, Timings
from recognizer_service.gallery.types import SightingOutcome
from shared.model_directory import Manifest
from shared.serving.buckets import STAGE_BUCKETS_S


class RecognizerMetrics:
    """Metrics of batches, decisions, sightings, stages and gallery size."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.model = Info("compactface_model", "The model in use.", registry=registry)
        self.faces = Gauge("compactface_gallery_faces", "Faces enrolled.", registry=registry)
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

    def answered(self, question: str, decision: Decision, timings: Timings) -> None:
        """Count one answer and record its stage timings."""
        self._decisions.labels(question, decision.value).inc()
        for stage, milliseconds in (
            ("unpack", timings.unpack_ms),
            ("embed", timings.embed_ms),
            ("match", timings.match_ms),
        ):
            self._stages.labels(stage).observe(milliseconds / 1000)

    def sighting_identified(self, result: str) -> None:
        """Count the result of identifying one sighting."""
        self._sightings_identified.labels(result).inc()

    def sighted(self, outcome: SightingOutcome) -> None:
        """Count one streamed map."""
        self._sightings.labels(outcome.name.lower()).inc()
