"""Liveness: what clients claim of the faces that they send, where a collection requires it.

Presentation attacks (photographs, masks, screens) are detected by clients, if at all.
"""

from collections.abc import Iterable

from recognizer_service.core.types import FaceMap, Probe
from recognizer_service.gallery.limits import shown
from recognizer_service.gallery.types import Collection
from shared.errors import InvalidInput


def check_liveness(collection: Collection, probes: Iterable[Probe]) -> None:
    """Check that every face has the liveness that a collection requires.

    Raises:
        InvalidInput: LIVENESS_TOO_LOW: less is claimed, or nothing. Sightings have no liveness.
    """
    limit = collection.min_liveness
    if not limit:
        return
    for face in probes:
        claimed = face.liveness if isinstance(face, FaceMap) else None
        if claimed is not None and claimed >= limit:
            continue
        value = "missing" if claimed is None else f"{claimed:g}"
        raise InvalidInput(
            "LIVENESS_TOO_LOW",
            f"liveness is {value}; collection {shown(collection.collection_id)} requires at least "
            f"{limit:g}",
            field=face.field if isinstance(face, FaceMap) else "probe.sighting_id",
            metadata={"liveness": value, "min_liveness": f"{limit:g}"},
        )
