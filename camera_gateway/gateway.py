"""The gateway: processes cameras and forwards faces to an encoder service."""

import threading
import time
from types import TracebackType
from typing import Self

import cv2
import structlog
from prometheus_client import CollectorRegistry

from camera_gateway.camera import Camera
from camera_gateway.display import Display
from camera_gateway.forwarding import Forwarder
from camera_gateway.metrics import CameraMetrics, GatewayMetrics
from camera_gateway.settings import CameraSettings, GatewaySettings
from compactface.client import EncoderClient, Tls
from shared.errors import CompactfaceError, Unavailable
from shared.faces.detect import Detector, DetectorOptions
from shared.faces.detectors import open_detector
from shared.serving.background import Background
from shared.serving.metrics import MetricsServer

_LAST_LOOK_S = 2.0  # after which a thread still processing a frame is abandoned

_log = structlog.get_logger(__name__)


class Gateway:
    """Runs all cameras while entered as a context manager.

    Args:
        settings: settings of the process and its cameras.
        registry: registry for the metrics.

    Raises:
        SettingsError: the metrics address cannot be bound.
        OSError: a certificate cannot be read, or the display folder cannot be created.
    """

    def __init__(self, settings: GatewaySettings, registry: CollectorRegistry) -> None:
        cv2.setNumThreads(1)  # the cameras' threads provide the parallelism
        self._settings = settings
        self._stopping = threading.Event()
        self._background = Background(registry)
        families = GatewayMetrics(registry)
        metrics = {one.name: CameraMetrics(families, one.name) for one in settings.cameras}
        tls = Tls(settings.ca, settings.certificate, settings.key) if settings.ca else None
        self._encoder = EncoderClient(
            settings.encoder, tls=tls, token=settings.token, proxy=settings.proxy
        )
        self._forwarder = Forwarder(
            self._encoder,
            capacity=settings.max_waiting,
            metrics=families,
            cameras=metrics,
            background=self._background,
        )
        self._detectors: dict[DetectorOptions, Detector] = {}
        self._cameras = [self._camera(one, metrics[one.name]) for one in settings.cameras]
        self._metrics_server = MetricsServer(
            registry,
            host=settings.metrics_host,
            port=settings.metrics_port,
            background=self._background,
        )

    @property
    def metrics_port(self) -> int:
        """The bound port of the metrics endpoint."""
        return self._metrics_server.port

    @property
    def finished(self) -> bool:
        """Whether all sources have ended, one was missing at the start, or sending has died."""
        cameras = self._cameras
        if self._forwarder.died or any(one.missing for one in cameras):
            return True
        return all(one.finished for one in cameras)

    @property
    def error(self) -> CompactfaceError | None:
        """The error that ended a source or the sending unexpectedly; None: none."""
        if self._forwarder.died:
            return Unavailable("FORWARDING_DIED", "the thread that sends faces has died")
        return next((camera.error for camera in self._cameras if camera.error), None)

    def __enter__(self) -> Self:
        """Start the cameras.

        Raises:
            FailedPrecondition: the encoder has no uplink.
        """
        try:
            self._forwarder.start()
        except BaseException:
            self._metrics_server.close()
            self._encoder.close()
            raise
        for camera in self._cameras:
            camera.start()
        _log.info(
            "watching",
            cameras=[camera.name for camera in self._settings.cameras],
            encoder=self._settings.encoder,
            metrics_address=f"{self._settings.metrics_host}:{self.metrics_port}",
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop reading, and send the remaining shots."""
        self._stopping.set()
        until = time.monotonic() + _LAST_LOOK_S
        for camera in self._cameras:
            camera.wait_until_looked(max(0.0, until - time.monotonic()))
        lost = self._forwarder.close(flush_s=self._settings.flush_seconds)
        self._metrics_server.close()
        self._encoder.close()
        (_log.error if lost else _log.info)("stopped", shots_lost=lost)

    def _camera(self, settings: CameraSettings, metrics: CameraMetrics) -> Camera:
        options, folder = settings.detector_options, self._settings.show_to
        if options not in self._detectors:
            self._detectors[options] = open_detector(options)
        display = None
        if folder is not None:
            display = Display(folder, settings.name, every_s=self._settings.show_seconds)
        return Camera(
            settings,
            detector=self._detectors[options],
            offer=self._forwarder.offer,
            metrics=metrics,
            display=display,
            background=self._background,
            stopping=self._stopping,
        )
