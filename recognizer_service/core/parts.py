"""From what a caller sends to faces and embeddings."""

from collections.abc import Sequence

from recognizer_service.core.networks import Networks, OpenedMap
from recognizer_service.core.types import FaceMap, Probe, SightingId, Timings
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.types import Collection, Embedding
from shared.threads import InThread


class Probes:
    """Reads what a question refers to: its collection, and a sighting's map."""

    def __init__(self, gallery: Gallery, in_thread: InThread) -> None:
        self._gallery = gallery
        self._in_thread = in_thread

    async def collection(self, collection_id: str) -> Collection:
        """Return a collection, or raise NotFound (COLLECTION_NOT_FOUND)."""
        return await self._in_thread(self._gallery.collections.get, collection_id)

    async def face(self, collection_id: str, probe: Probe) -> FaceMap:
        """Return the face of a probe, or raise NotFound (SIGHTING_NOT_FOUND)."""
        if not isinstance(probe, SightingId):
            return probe
        (found,) = await self._in_thread(self._gallery.sightings.find, collection_id, [probe.id])
        seen = found.sighting
        return FaceMap(
            seen.codec_id, seen.png, seen.quality, seen.captured_at, field="probe.sighting_id"
        )


async def embedded(
    networks: Networks, faces: Sequence[FaceMap], timings: Timings
) -> tuple[list[OpenedMap], list[Embedding]]:
    """Parse and embed maps. All are parsed first, so that an invalid one costs nothing."""
    with timings.measure("unpack_ms"):
        maps = networks.opened(faces)
    with timings.measure("embed_ms"):
        return maps, await networks.embed(maps)
