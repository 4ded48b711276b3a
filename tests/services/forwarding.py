"""Forwards crops through an encoder."""

from compactface.v1.encoder_pb2 import PICTURE_KIND_CROP, EncodeRequest, EncodeStreamRequest
from tests.services.conftest import clouds
from tests.services.hosting import Service
from tests.services.processes import Process


def crop(seed: int, camera: str = "") -> EncodeRequest:
    """A request to forward a crop of coloured clouds."""
    return EncodeRequest(image=clouds(seed), kind=PICTURE_KIND_CROP, forward=True, camera=camera)


async def forwarded(encoder: Service | Process, *seeds: int, camera: str = "") -> list[str]:
    """Forward crops, the first alone and the others as a stream; the ids of their sightings."""
    first, *others = seeds
    answers = [await encoder.encoder.Encode(crop(first, camera))]
    requests = [EncodeStreamRequest(request=crop(seed, camera)) for seed in others]
    answers += [answer.response async for answer in encoder.encoder.EncodeStream(iter(requests))]
    ids = [face.sighting_id for answer in answers for face in answer.faces]
    assert all(ids)
    return ids
