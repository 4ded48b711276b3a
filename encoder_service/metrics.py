"""What an encoder counts, besides the calls themselves."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from encoder_service.core.encoder import EncodedPicture
from shared.serving.buckets import STAGE_BUCKETS_S


class EncoderMetrics:
    """Faces, bytes and the seconds of each stage."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.model = Info("compactface_model", "The model in use.", registry=registry)
        self._faces = Counter("compactface_faces_encoded", "Faces encoded.", registry=registry)
        self._bytes = Histogram(
            "compactface_map_bytes",
            "Size of the compact maps made.",
            buckets=(64, 100, 150, 200, 250, 300, 350, 400, 500, 700, 1000, 2000, 4096),
            registry=registry,
        )
        self._stages = Histogram(
            "compactface_stage_seconds",
            "Seconds a picture spends in each stage.",
            ("stage",),
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )

    def observe(self, picture: EncodedPicture) -> None:
        """Count one encoded picture."""
        self._faces.inc(len(picture.faces))
        for face in picture.faces:
            self._bytes.observe(len(face.png))
        timings = picture.timings
        for stage, milliseconds in (
            ("decode", timings.decode_ms),
            ("detect", timings.detect_ms),
            ("align", timings.align_ms),
            ("compnet", timings.compnet_ms),
            ("pack", timings.pack_ms),
        ):
            self._stages.labels(stage).observe(milliseconds / 1000)


class UplinkMetrics:
    """What waits, arrived, was refused or set aside, and how often the connection broke."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.depth = Gauge(
            "compactface_uplink_depth", "Maps not yet acknowledged.", registry=registry
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
        self.breaks = Counter(
            "compactface_uplink_breaks", "Connections that got nothing through.", registry=registry
        )
