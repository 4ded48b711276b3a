"""What identification and verification share: their parts, and the faces of probes."""

from collections.abc import Sequence
from dataclasses import dataclass

from recognizer_service.core.attempts import Attempts
from recognizer_service.core.drift import CalibrationChecks
from recognizer_service.core.networks import EmbeddedMap, ModelInUse, Networks
from recognizer_service.core.types import FaceMap, Probe, SightingId, Timings
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.types import Collection
from recognizer_service.metrics import RecognizerMetrics
from shared.threads import InThread


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a recognizer that compare faces.

    Attributes:
        gallery: the enrolled subjects.
        model: the networks that serve.
        in_thread: runs reads.
        metrics: counts answers.
        attempts: limits callers' attempts.
        checks: compares the calibration with the probes served.
    """

    gallery: Gallery
    model: ModelInUse
    in_thread: InThread
    metrics: RecognizerMetrics
    attempts: Attempts
    checks: CalibrationChecks

    async def collection(self, collection_id: str) -> Collection:
        """Return a collection, or raise NotFound (COLLECTION_NOT_FOUND)."""
        return await self.in_thread(self.gallery.collections.get, collection_id)

    async def face(self, collection_id: str, probe: Probe) -> FaceMap:
        """Return the face of a probe, or raise NotFound (SIGHTING_NOT_FOUND)."""
        if not isinstance(probe, SightingId):
            return probe
        (found,) = await self.in_thread(self.gallery.sightings.find, collection_id, [probe.id])
        seen = found.sighting
        return FaceMap(
            seen.codec_id, seen.png, seen.quality, seen.captured_at, field="probe.sighting_id"
        )


async def embedded(
    networks: Networks, faces: Sequence[FaceMap], timings: Timings
) -> list[EmbeddedMap]:
    """Parse and embed maps. All are parsed first, so that an invalid one costs nothing."""
    with timings.measure("unpack_ms"):
        maps = networks.opened(faces)
    with timings.measure("embed_ms"):
        return await networks.embed(maps)
