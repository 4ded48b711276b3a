"""The questions of the tests, in one line each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.encoder_pb2 import PICTURE_KIND_CROP, EncodeRequest
from compactface.v1.gallery_pb2 import (
    ON_DUPLICATE_ALLOW,
    Collection,
    EnrollRequest,
    EnrollResponse,
    UpdateCollectionRequest,
)
from compactface.v1.recognizer_pb2 import (
    BatchIdentifyRequest,
    IdentifyDecision,
    IdentifyRequest,
    IdentifyResponse,
    IdentifyThreshold,
    Probe,
    VerifyRequest,
    VerifyResponse,
    VerifyThreshold,
)
from shared.codec.compact_map import pack
from shared.model_directory import ModelDirectory
from tests.services.hosting import Service
from tests.tiny_model import FAMILY

CAMERAS = "cameras"
"""The collection of the tests for what cameras stream."""


async def crop_map(encoder: Service, crop: bytes) -> CompactMap:
    """The map of an aligned crop."""
    request = EncodeRequest(image=crop, kind=PICTURE_KIND_CROP)
    return (await encoder.encoder.Encode(request)).faces[0].map


async def keep_for(service: Service, seconds: int, collection: str = CAMERAS) -> None:
    """Let a collection keep sightings for so long; 0: not at all."""
    changed = Collection(
        collection_id=collection or "default", sighting_retention=Duration(seconds=seconds)
    )
    mask = FieldMask(paths=["sighting_retention"])
    request = UpdateCollectionRequest(collection=changed, update_mask=mask)
    await service.gallery.UpdateCollection(request)


async def group_strangers(service: Service, max_fpir: float = 0.05) -> None:
    """Let the collection of the cameras group unknown sightings."""
    changed = Collection(collection_id=CAMERAS, max_stranger_fpir=max_fpir)
    mask = FieldMask(paths=["max_stranger_fpir"])
    request = UpdateCollectionRequest(collection=changed, update_mask=mask)
    await service.gallery.UpdateCollection(request)


async def enroll(
    service: Service, collection: str, subject_id: str, *maps: CompactMap, **options: object
) -> EnrollResponse:
    """Enrol some faces of one subject."""
    request = EnrollRequest(collection=collection, subject_id=subject_id, maps=maps, **options)
    return await service.gallery.Enroll(request)


async def enroll_all(service: Service, collection: str, faces: Sequence[CompactMap]) -> None:
    """Enrol one face each of `person-0`, `person-1` and so on, look-alikes too."""
    for number, face in enumerate(faces):
        await enroll(service, collection, f"person-{number}", face, on_duplicate=ON_DUPLICATE_ALLOW)


def asked(
    collection: str, probe: CompactMap | str, *, max_subjects: int = 0, **threshold: float
) -> IdentifyRequest:
    """A request to identify a map or a sighting."""
    return IdentifyRequest(
        collection=collection,
        probe=as_probe(probe),
        threshold=IdentifyThreshold(**threshold),
        max_subjects=max_subjects,
    )


async def identify(
    service: Service, collection: str, probe: CompactMap | str, **options: float
) -> IdentifyResponse:
    """Who is this? Options as in `asked`."""
    return await service.recognizer.Identify(asked(collection, probe, **options))


async def probe(
    service: Service, faces: Sequence[CompactMap], count: int, **threshold: float
) -> list[IdentifyDecision]:
    """Identify so many probes, each of these faces in turn; what was decided of each."""
    requests = [asked("", faces[at % len(faces)], **threshold) for at in range(count)]
    decisions: list[IdentifyDecision] = []
    for start in range(0, count, 60):
        batch = BatchIdentifyRequest(requests=requests[start : start + 60])
        results = (await service.recognizer.BatchIdentify(batch)).results
        assert all(result.HasField("response") for result in results)
        decisions += [result.response.decision for result in results]
    return decisions


async def verify(
    service: Service,
    collection: str,
    probe: CompactMap | str,
    reference: CompactMap | str,
    **threshold: float,
) -> VerifyResponse:
    """Is this the same as a map, or as a subject?"""
    request = VerifyRequest(
        collection=collection, probe=as_probe(probe), threshold=VerifyThreshold(**threshold)
    )
    if isinstance(reference, str):
        request.subject_id = reference
    else:
        request.map.CopyFrom(reference)
    return await service.recognizer.Verify(request)


def as_probe(probe: CompactMap | str) -> Probe:
    """A map, or the id of a sighting."""
    return Probe(sighting_id=probe) if isinstance(probe, str) else Probe(map=probe)


def face_of(models: Path, seed: int) -> CompactMap:
    """A map that version 1 could have written."""
    codec = ModelDirectory.load(models, FAMILY, "1").codec("standard")
    fmt = codec.map_format
    symbols = np.random.default_rng(seed).integers(0, fmt.levels, fmt.shape, np.uint8)
    return CompactMap(codec_id=codec.codec_id, png=pack(symbols, fmt))


def with_quality(face: CompactMap, quality: float | None) -> CompactMap:
    """The same map with another quality, or with none."""
    changed = CompactMap()
    changed.CopyFrom(face)
    changed.ClearField("quality")
    if quality is not None:
        changed.quality = quality
    return changed
