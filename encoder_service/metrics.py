"""Prometheus metrics of the encoder, besides those of calls."""

from collections.abc import Callable
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from encoder_service.core.encoder import EncodedPicture, PictureKind
from shared.serving.buckets import QUALITY_BUCKETS, STAGE_BUCKETS_S


class EncoderMetrics:
    """Counts faces and bytes, and observes the seconds of each stage."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.model = Info("compactface_model", "The model in use.", registry=registry)
        self._faces = Counter("compactface_faces_encoded", "Faces encoded.", registry=registry)
        self._bytes = Histogram(
            "compactface_map_bytes",
            "Size of the compact maps made.",
            buckets=(64, 100, 150, 200, 250, 300, 350, 400, 500, 700, 1000, 2000, 4096),
            registry=registry,
        )
        picture_bytes = Counter(
            "compactface_picture_bytes",
            "Bytes of the pictures received: what would travel without compact maps.",
            ("kind",),
            registry=registry,
        )
        # Looked up once: it is done for every picture.
        self._picture_bytes = {kind: picture_bytes.labels(kind.value) for kind in PictureKind}
        self._quality = Histogram(
            "compactface_face_quality",
            "Quality of the faces encoded.",
            buckets=QUALITY_BUCKETS,
            registry=registry,
        )
        stages = Histogram(
            "compactface_stage_seconds",
            "Seconds a picture spends in each stage.",
            ("stage",),
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._decode, self._detect, self._align, self._compnet, self._pack = map(
            stages.labels, ("decode", "detect", "align", "compnet", "pack")
        )

    def observe(self, picture: EncodedPicture, *, kind: PictureKind, size: int) -> None:
        """Record one encoded picture of a kind, and its size in bytes."""
        self._picture_bytes[kind].inc(size)
        self._faces.inc(len(picture.faces))
        for face in picture.faces:
            self._bytes.observe(len(face.png))
            self._quality.observe(face.quality)
        timings = picture.timings
        self._decode.observe(timings.decode_ms / 1000)
        self._detect.observe(timings.detect_ms / 1000)
        self._align.observe(timings.align_ms / 1000)
        self._compnet.observe(timings.compnet_ms / 1000)
        self._pack.observe(timings.pack_ms / 1000)


class Waiting(Protocol):
    """A queue of maps for the recognizer."""

    depth: int
    aside: int
    size: int

    @property
    def damaged(self) -> int:
        """Number of files that could not be read."""

    @property
    def oldest_age_s(self) -> float | None:
        """Age of the oldest map in seconds; None: the queue is empty."""


class UplinkMetrics:
    """Counts maps queued, delivered, rejected, dropped or set aside, and lost connections."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.depth = Gauge(
            "compactface_uplink_depth", "Maps not yet acknowledged.", registry=registry
        )
        self.oldest_age = Gauge(
            "compactface_uplink_oldest_seconds",
            "Age of the oldest map that is not acknowledged; 0: there is none.",
            registry=registry,
        )
        self.spool_bytes = Gauge(
            "compactface_uplink_spool_bytes", "Bytes of the maps in the spool.", registry=registry
        )
        self.spools_damaged = Gauge(
            "compactface_uplink_spools_damaged",
            "Spool files that could not be read and were set aside since the start.",
            registry=registry,
        )
        self.discards = Gauge(
            "compactface_uplink_discards",
            "1 while the recognizer says that it keeps no sightings, so that nothing is forwarded.",
            registry=registry,
        )
        self.aside = Gauge(
            "compactface_uplink_aside",
            "Maps that the recognizer fails at, kept and tried again now and then.",
            registry=registry,
        )
        self.set_aside = Counter(
            "compactface_uplink_set_aside", "Maps set aside.", registry=registry
        )
        self.acknowledged = Counter(
            "compactface_uplink_acknowledged", "Maps acknowledged.", registry=registry
        )
        self.refused = Counter(
            "compactface_uplink_refused", "Maps refused for good.", registry=registry
        )
        self.discarded = Counter(
            "compactface_uplink_discarded",
            "Maps let go, here or there, since the recognizer keeps no sightings.",
            registry=registry,
        )
        self.dropped = Counter(
            "compactface_uplink_dropped",
            "Maps dropped, undelivered, at the spool's limit of bytes or of age.",
            ("limit",),
            registry=registry,
        )
        for limit in ("bytes", "age"):
            self.dropped.labels(limit)
        self.breaks = Counter(
            "compactface_uplink_breaks", "Connections that got nothing through.", registry=registry
        )

    def show(self, spool: Waiting, *, discards: Callable[[], bool]) -> None:
        """Bind the gauges to a spool."""
        self.depth.set_function(lambda: spool.depth)
        self.aside.set_function(lambda: spool.aside)
        self.oldest_age.set_function(lambda: spool.oldest_age_s or 0)
        self.spool_bytes.set_function(lambda: spool.size)
        self.spools_damaged.set_function(lambda: spool.damaged)
        self.discards.set_function(discards)
