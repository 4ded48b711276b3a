"""Sends faces to the encoder, which forwards them; while it is away they wait."""

import threading
import time
from collections.abc import Mapping

import structlog

from camera_gateway.metrics import CameraMetrics, GatewayMetrics
from camera_gateway.pauses import pauses
from camera_gateway.shots import Shot
from compactface.client import EncoderClient, InvalidArgument, RequestFailed
from compactface.v1.encoder_pb2 import FORWARD_OUTCOME_DISCARDED
from shared.errors import FailedPrecondition
from shared.faces.display import encode_png

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 15.0
_FAULTS = {"INTERNAL", "UNKNOWN", "DATA_LOSS"}  # may be this face's doing
_MOST_FAULTS = 5  # of one face, which then makes way

_log = structlog.get_logger(__name__)


class Forwarder:
    """A bounded line of faces before one encoder, the oldest of which give way.

    What the encoder answers to is over: it has taken the face, refuses it for good, or has failed
    at it five times. What it does not answer to is sent again, so that a face may arrive twice,
    but none is lost while there is room.

    Args:
        encoder: where they go.
        capacity: most faces that wait.
        metrics: of all cameras.
        cameras: the counters of each camera by its name.
    """

    def __init__(
        self,
        encoder: EncoderClient,
        *,
        capacity: int,
        metrics: GatewayMetrics,
        cameras: Mapping[str, CameraMetrics],
    ) -> None:
        self._encoder = encoder
        self._capacity = capacity
        self._metrics = metrics
        self._cameras = cameras
        self._waiting: dict[tuple[str, int], Shot] = {}  # in the order of coming
        self._changed = threading.Condition()
        self._closing = False
        self._deadline = float("inf")
        self._faults = 0
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)

    def start(self) -> None:
        """Begin to send.

        Raises:
            FailedPrecondition: the encoder is there, and has no uplink to forward to.
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
        """Send a face as soon as possible.

        Of one visit one face waits, the better one. Without room the oldest is given up.
        """
        key = shot.camera, shot.visit
        with self._changed:
            before = self._waiting.get(key)
            if before is not None and before.quality >= shot.quality:
                return
            self._waiting[key] = shot  # which keeps the place
            if len(self._waiting) > self._capacity:
                oldest = self._waiting.pop(next(iter(self._waiting)))
                self._cameras[oldest.camera].dropped.inc()
            self._metrics.waiting.set(len(self._waiting))
            self._changed.notify_all()

    def close(self, *, flush_s: float) -> int:
        """Send what waits for at most so many seconds.

        Returns:
            How many faces are lost.
        """
        with self._changed:
            self._closing = True
            self._deadline = time.monotonic() + flush_s
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(flush_s + 1)
        return len(self._waiting)

    def _run(self) -> None:
        tries = pauses(first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                left_s = self._deadline - time.monotonic()
                if not self._waiting or left_s <= 0:
                    return
                key, shot = next(iter(self._waiting.items()))
            if self._send(shot, timeout_s=min(10.0, left_s)):
                tries = pauses(first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)
                with self._changed:
                    if self._waiting.get(key) is shot:  # else a better one came meanwhile
                        del self._waiting[key]
                    self._metrics.waiting.set(len(self._waiting))
            else:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, next(tries))

    def _send(self, shot: Shot, *, timeout_s: float) -> bool:
        """Whether the encoder has answered for good."""
        camera = self._cameras[shot.camera]
        try:
            answer = self._encoder.with_timeout(timeout_s).encode(
                encode_png(shot.crop), kind="crop", capture_time=shot.taken, forward=True
            )
        except RequestFailed as error:
            self._faults += error.code in _FAULTS
            if isinstance(error, InvalidArgument) or self._faults == _MOST_FAULTS:
                _log.error("shot_refused", camera=shot.camera, code=error.code, error=error.message)
                camera.refused.inc()
                self._faults = 0
                return True
            _log.warning("encoder_away", code=error.code, error=error.message)
            return False
        self._faults = 0
        face = answer.faces[0]
        if face.forward_outcome == FORWARD_OUTCOME_DISCARDED:
            _log.warning("sightings_not_kept", camera=shot.camera, visit=shot.visit)
            camera.discarded.inc()
            return True
        camera.sightings.inc()
        _log.info(
            "sighting",
            camera=shot.camera,
            visit=shot.visit,
            sighting_id=face.sighting_id,
            quality=round(shot.quality, 3),
            taken=shot.taken.isoformat(),
        )
        return True
