"""Send faces to the encoder for forwarding; they are queued while it is unreachable."""

import threading
import time
from collections.abc import Mapping

import structlog

from camera_gateway.metrics import CameraMetrics, GatewayMetrics
from camera_gateway.shots import Shot
from compactface.client import EncoderClient, InvalidArgument, RequestFailed
from compactface.v1.encoder_pb2 import FORWARD_OUTCOME_DISCARDED
from shared.errors import FailedPrecondition
from shared.faces.display import encode_png
from shared.serving.background import Background
from shared.serving.backoff import Backoff

_TASK = "forward"
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 15.0
_FAULTS = {"INTERNAL", "UNKNOWN", "DATA_LOSS"}  # may be caused by the face
_MOST_FAULTS = 5  # maximum failures of a face before it is given up

_log = structlog.get_logger(__name__)


class Forwarder:
    """A bounded queue of faces for one encoder; if it is full, the oldest are dropped.

    A face leaves the queue when the encoder accepts it, rejects it permanently, or has failed on it
    five times. Unanswered faces are sent again, so a face can arrive twice, but none is lost while
    the queue has room.

    Args:
        encoder: the encoder's client.
        capacity: maximum number of queued faces.
        metrics: metrics of all cameras.
        cameras: counters of each camera by name.
        background: records unexpected failures.

    Attributes:
        died: whether sending has ended because of a bug; no face leaves the queue any more.
    """

    def __init__(
        self,
        encoder: EncoderClient,
        *,
        capacity: int,
        metrics: GatewayMetrics,
        cameras: Mapping[str, CameraMetrics],
        background: Background,
    ) -> None:
        self.died = False
        self._encoder = encoder
        self._capacity = capacity
        self._metrics = metrics
        self._cameras = cameras
        self._background = background
        self._waiting: dict[tuple[str, int], Shot] = {}  # in order of arrival
        self._changed = threading.Condition()
        self._closing = False
        self._deadline = float("inf")
        self._faults = 0
        self._thread = threading.Thread(target=self._run, name=_TASK, daemon=True)

    def start(self) -> None:
        """Start sending.

        Raises:
            FailedPrecondition: the encoder is reachable but has no uplink.
        """
        try:
            uplink = self._encoder.with_timeout(2).info().uplink_enabled
        except RequestFailed as error:
            _log.warning("encoder_away", code=error.code, error=error.message)
        else:
            if not uplink:
                raise FailedPrecondition(
                    "UPLINK_DISABLED",
                    "the encoder has no uplink, so that nobody would hear of a face; "
                    "see its setting uplink_target",
                )
        self._thread.start()

    def offer(self, shot: Shot) -> None:
        """Queue a face.

        The queue holds only the best face of each visit. If it is full, the oldest face is dropped.
        """
        key = shot.camera, shot.visit
        with self._changed:
            before = self._waiting.get(key)
            if before is not None and before.quality >= shot.quality:
                return
            self._waiting[key] = shot  # keeps its position
            if len(self._waiting) > self._capacity:
                oldest = self._waiting.pop(next(iter(self._waiting)))
                self._cameras[oldest.camera].dropped.inc()
            self._metrics.waiting.set(len(self._waiting))
            self._changed.notify_all()

    def close(self, *, flush_s: float) -> int:
        """Send queued faces for at most `flush_s` seconds.

        Returns:
            The number of lost faces.
        """
        with self._changed:
            self._closing = True
            self._deadline = time.monotonic() + flush_s
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(flush_s + 1)
        return len(self._waiting)

    def _run(self) -> None:
        try:
            self._send_until_closed()
        except BaseException:
            self.died = True
            raise  # and be logged

    def _send_until_closed(self) -> None:
        backoff = Backoff(first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                left_s = self._deadline - time.monotonic()
                if not self._waiting or left_s <= 0:
                    return
                key, shot = next(iter(self._waiting.items()))
            if self._send(shot, timeout_s=min(10.0, left_s)):
                backoff.reset()
                with self._changed:
                    if self._waiting.get(key) is shot:  # otherwise a better one replaced it
                        del self._waiting[key]
                    self._metrics.waiting.set(len(self._waiting))
            else:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, backoff.pause_s())

    def _send(self, shot: Shot, *, timeout_s: float) -> bool:
        """Send a face; whether it can leave the queue."""
        try:
            self._send_once(shot, timeout_s)
        except RequestFailed as error:
            self._faults += error.code in _FAULTS
            if not (isinstance(error, InvalidArgument) or self._faults == _MOST_FAULTS):
                _log.warning("encoder_away", code=error.code, error=error.message)
                return False
            _log.error("shot_refused", camera=shot.camera, code=error.code, error=error.message)
            self._cameras[shot.camera].refused.inc()
        except Exception:  # noqa: BLE001 - the other faces must still be sent
            self._background.failed(_TASK)
            self._faults += 1
            if self._faults < _MOST_FAULTS:
                return False
            self._cameras[shot.camera].refused.inc()
        self._faults = 0
        return True

    def _send_once(self, shot: Shot, timeout_s: float) -> None:
        answer = self._encoder.with_timeout(timeout_s).encode(
            encode_png(shot.crop),
            kind="crop",
            capture_time=shot.taken,
            forward=True,
            camera=shot.camera,
        )
        camera = self._cameras[shot.camera]
        face = answer.faces[0]
        if face.forward_outcome == FORWARD_OUTCOME_DISCARDED:
            _log.warning("sightings_not_kept", camera=shot.camera, visit=shot.visit)
            camera.discarded.inc()
            return
        camera.sightings.inc()
        _log.info(
            "sighting",
            camera=shot.camera,
            visit=shot.visit,
            sighting_id=face.sighting_id,
            quality=round(shot.quality, 3),
            taken=shot.taken.isoformat(),
        )
