"""Prometheus metrics of the gateway, by camera."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge

_LABELS = ("camera",)


class CameraMetrics:
    """Counters of one camera, starting at 0.

    Attributes:
        frames: frames read from the source.
        skipped: frames skipped because they were stale.
        damaged: frames that could not be decoded.
        faces: faces detected in frames.
        tracks: tracks begun: one per person in view, plus detector errors.
        sightings: shots accepted by the encoder.
        dropped: shots dropped because the queue was full.
        discarded: shots discarded because the recognizer stores no sightings.
        refused: shots permanently rejected by the encoder.
        reconnects: reconnections after a lost source.
    """

    def __init__(self, metrics: "GatewayMetrics", camera: str) -> None:
        self.frames = metrics.frames.labels(camera)
        self.skipped = metrics.skipped.labels(camera)
        self.damaged = metrics.damaged.labels(camera)
        self.faces = metrics.faces.labels(camera)
        self.tracks = metrics.tracks.labels(camera)
        self.sightings = metrics.sightings.labels(camera)
        self.dropped = metrics.dropped.labels(camera)
        self.discarded = metrics.discarded.labels(camera)
        self.refused = metrics.refused.labels(camera)
        self.reconnects = metrics.reconnects.labels(camera)
        self._last_frame_at = time.monotonic()
        metrics.age.labels(camera).set_function(self._age_s)

    def frame_came(self) -> None:
        """Count a frame that was read."""
        self.frames.inc()
        self._last_frame_at = time.monotonic()

    def _age_s(self) -> float:
        return time.monotonic() - self._last_frame_at


class GatewayMetrics:
    """Metric families, and metrics shared by the cameras."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"compactface_camera_{name}", text, _LABELS, registry=registry)

        self.frames = counter("frames_read", "Frames read from the source.")
        self.skipped = counter("frames_skipped", "Frames that were stale before their turn came.")
        self.damaged = counter("frames_damaged", "Frames that could not be decoded.")
        self.faces = counter("faces", "Faces found in frames.")
        self.tracks = counter("tracks", "Tracks begun.")
        self.sightings = counter("sightings", "Faces accepted by the encoder for forwarding.")
        self.dropped = counter("shots_dropped", "Faces that had no room to wait for the encoder.")
        self.discarded = counter("shots_discarded", "Faces of which no sighting is kept.")
        self.refused = counter("shots_refused", "Faces that the encoder refused for good.")
        self.reconnects = counter("reconnects", "Attempts to open a source again.")
        self.age = Gauge(
            "compactface_camera_last_frame_age_seconds",
            "Seconds since the last frame, or since the start.",
            _LABELS,
            registry=registry,
        )
        self.waiting = Gauge(
            "compactface_camera_shots_waiting",
            "Faces of all cameras that wait for the encoder.",
            registry=registry,
        )
