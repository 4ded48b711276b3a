"""Requests about good maps that are wrong in some other way: one table, one test."""

import math
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import (
    Collection,
    CreateCollectionRequest,
    DeleteFaceRequest,
    DeleteSubjectRequest,
    EnrollRequest,
    GetCollectionRequest,
    GetFaceRequest,
    GetSubjectRequest,
    ListCollectionsRequest,
    ListFacesRequest,
    ListSubjectsRequest,
    ReviewSubjectRequest,
)
from compactface.v1.recognizer_pb2 import (
    IDENTIFY_DECISION_EMPTY_GALLERY,
    BatchIdentifyRequest,
    EmbedRequest,
    IdentifyRequest,
    IdentifyThreshold,
    Probe,
    ReconstructRequest,
    VerifyRequest,
    VerifyThreshold,
)
from tests.services.asking import identify
from tests.services.hosting import Service, failure, fields_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAN = math.nan
NEVER = Timestamp(seconds=10**15)
NOT_OURS = "é"
NOWHERE = "no-such-collection"


class Case(NamedTuple):
    """A bad request and the answer to it.

    Attributes:
        method: of one of the two services.
        request: made of a good map and the id of an empty collection.
        reason: of the error; its code is NOT_FOUND or FAILED_PRECONDITION where the reason says
            so, and else INVALID_ARGUMENT.
        field: that BadRequest names; "" for other codes.
    """

    method: str
    request: Callable[[CompactMap, str], Any]
    reason: str
    field: str = ""

    @property
    def code(self) -> str:
        """Name of the code that goes with the reason."""
        if self.reason.endswith("_NOT_FOUND"):
            return "NOT_FOUND"
        return "FAILED_PRECONDITION" if self.reason == "UNKNOWN_CODEC" else "INVALID_ARGUMENT"


def changed(face: CompactMap, **fields: object) -> CompactMap:
    copy = CompactMap()
    copy.CopyFrom(face)
    copy.MergeFrom(CompactMap(**fields))
    return copy


def asking(face: CompactMap, collection: str, **fields: object) -> IdentifyRequest:
    return IdentifyRequest(**{"collection": collection, "probe": Probe(map=face), **fields})


def asking_with(**criterion: float) -> Callable[[CompactMap, str], IdentifyRequest]:
    threshold = IdentifyThreshold(**criterion)
    return lambda face, collection: asking(face, collection, threshold=threshold)


def asking_about(**fields: object) -> Callable[[CompactMap, str], IdentifyRequest]:
    return lambda face, collection: asking(changed(face, **fields), collection)


def comparing(face: CompactMap, collection: str, **fields: object) -> VerifyRequest:
    return VerifyRequest(**{"collection": collection, "probe": Probe(map=face), **fields})


def enrolling(face: CompactMap, collection: str, **fields: object) -> EnrollRequest:
    return EnrollRequest(
        **{"collection": collection, "subject_id": "eve", "maps": [face], **fields}
    )


def enrolling_with(**fields: object) -> Callable[[CompactMap, str], EnrollRequest]:
    return lambda face, collection: enrolling(face, collection, **fields)


def creating(**fields: object) -> Callable[[CompactMap, str], CreateCollectionRequest]:
    collection = Collection(**{"collection_id": f"new-{uuid.uuid4()}", **fields})
    return lambda _face, _collection: CreateCollectionRequest(collection=collection)


def in_collection(request: type, **fields: object) -> Callable[[CompactMap, str], Any]:
    return lambda _face, collection: request(collection=collection, **fields)


CASES = [
    Case("Identify", lambda f, c: asking(f, c, probe=None), "NO_PROBE", "probe"),
    Case("Identify", asking_about(quality=NAN), "INVALID_QUALITY", "probe.map.quality"),
    Case("Identify", asking_about(quality=1.5), "INVALID_QUALITY", "probe.map.quality"),
    Case("Identify", asking_about(capture_time=NEVER), "INVALID_TIME", "probe.map.capture_time"),
    *(
        Case("Identify", asking_with(max_fpir=rate), "INVALID_THRESHOLD", "threshold.max_fpir")
        for rate in (NAN, 0, 1, -0.1, math.inf)
    ),
    *(
        Case(
            "Identify",
            asking_with(min_similarity=similarity),
            "INVALID_THRESHOLD",
            "threshold.min_similarity",
        )
        for similarity in (NAN, -1.5, 1.01)
    ),
    Case("Identify", lambda f, c: asking(f, c, max_subjects=101), "OUT_OF_RANGE", "max_subjects"),
    Case("Identify", lambda f, _: asking(f, NOWHERE), "COLLECTION_NOT_FOUND"),
    Case(
        "Identify",
        lambda f, c: asking(f, c, probe=Probe(sighting_id=str(uuid.uuid4()))),
        "SIGHTING_NOT_FOUND",
    ),
    Case("BatchIdentify", lambda *_: BatchIdentifyRequest(), "INVALID_BATCH_SIZE", "requests"),
    Case(
        "BatchIdentify",
        lambda f, c: BatchIdentifyRequest(requests=[asking(f, c)] * 5),
        "INVALID_BATCH_SIZE",
        "requests",
    ),
    Case("Verify", lambda f, c: comparing(f, c, probe=None, map=f), "NO_PROBE", "probe"),
    Case("Verify", comparing, "NO_REFERENCE", "reference"),
    Case(
        "Verify",
        lambda f, c: comparing(f, c, map=f, threshold=VerifyThreshold(max_fmr=NAN)),
        "INVALID_THRESHOLD",
        "threshold.max_fmr",
    ),
    Case(
        "Verify",
        lambda f, c: comparing(f, c, map=changed(f, quality=-1)),
        "INVALID_QUALITY",
        "map.quality",
    ),
    Case("Verify", lambda f, c: comparing(f, c, subject_id="eve"), "SUBJECT_NOT_FOUND"),
    Case("Verify", lambda f, _: comparing(f, NOWHERE, map=f), "COLLECTION_NOT_FOUND"),
    Case("Reconstruct", lambda *_: ReconstructRequest(), "NO_PROBE", "probe"),
    Case("Embed", lambda *_: EmbedRequest(), "UNKNOWN_CODEC"),
    Case("Enroll", enrolling_with(maps=[]), "INVALID_FACE_COUNT", "maps"),
    Case(
        "Enroll",
        lambda f, c: enrolling(f, c, maps=[f, changed(f, quality=NAN)]),
        "INVALID_QUALITY",
        "maps[1].quality",
    ),
    Case(
        "Enroll",
        lambda f, c: enrolling(f, c, maps=[changed(f, capture_time=NEVER)]),
        "INVALID_TIME",
        "maps[0].capture_time",
    ),
    Case(
        "Enroll",
        lambda f, c: enrolling(f, c, maps=[f, changed(f, codec_id="cafe" * 4)]),
        "UNKNOWN_CODEC",
    ),
    Case("Enroll", enrolling_with(subject_id="x" * 129), "INVALID_LENGTH", "subject_id"),
    Case("Enroll", enrolling_with(subject_id="a\nb"), "UNPRINTABLE_TEXT", "subject_id"),
    Case("Enroll", enrolling_with(display_name="x" * 257), "INVALID_LENGTH", "display_name"),
    Case("Enroll", enrolling_with(request_id="x" * 129), "INVALID_LENGTH", "request_id"),
    Case("Enroll", lambda f, _: enrolling(f, NOWHERE), "COLLECTION_NOT_FOUND"),
    Case(
        "CreateCollection",
        lambda *_: CreateCollectionRequest(),
        "INVALID_COLLECTION_ID",
        "collection.collection_id",
    ),
    Case(
        "CreateCollection",
        creating(collection_id="Über uns"),
        "INVALID_COLLECTION_ID",
        "collection.collection_id",
    ),
    Case("CreateCollection", creating(max_fpir=NAN), "INVALID_RATE", "collection.max_fpir"),
    Case("CreateCollection", creating(max_fmr=1), "INVALID_RATE", "collection.max_fmr"),
    Case(
        "CreateCollection",
        creating(sighting_retention=Duration(seconds=-1)),
        "OUT_OF_RANGE",
        "collection.sighting_retention",
    ),
    Case(
        "GetCollection",
        lambda *_: GetCollectionRequest(collection=NOWHERE),
        "COLLECTION_NOT_FOUND",
    ),
    Case(
        "ListCollections",
        lambda *_: ListCollectionsRequest(page_size=1001),
        "OUT_OF_RANGE",
        "page_size",
    ),
    Case(
        "ListCollections",
        lambda *_: ListCollectionsRequest(page_token=NOT_OURS),
        "INVALID_PAGE_TOKEN",
        "page_token",
    ),
    Case(
        "ListSubjects",
        in_collection(ListSubjectsRequest, page_token=NOT_OURS),
        "INVALID_PAGE_TOKEN",
        "page_token",
    ),
    Case("GetSubject", in_collection(GetSubjectRequest, subject_id="eve"), "SUBJECT_NOT_FOUND"),
    Case(
        "ReviewSubject",
        in_collection(ReviewSubjectRequest, subject_id="eve"),
        "SUBJECT_NOT_FOUND",
    ),
    Case("ListFaces", in_collection(ListFacesRequest, subject_id="eve"), "SUBJECT_NOT_FOUND"),
    Case(
        "DeleteSubject",
        in_collection(DeleteSubjectRequest, subject_id="eve"),
        "SUBJECT_NOT_FOUND",
    ),
    Case("GetFace", in_collection(GetFaceRequest, face_id="none"), "FACE_NOT_FOUND"),
    Case("DeleteFace", in_collection(DeleteFaceRequest, face_id="none"), "FACE_NOT_FOUND"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method}-{case.reason}")
async def test_a_bad_request_is_refused_and_changes_nothing(
    recognizer: Service, collection: str, people: list[CompactMap], case: Case
) -> None:
    stub = recognizer.recognizer
    method = getattr(stub if hasattr(stub, case.method) else recognizer.gallery, case.method)
    error = await failure(method(case.request(people[0], collection)))
    expected_fields = [case.field] if case.field else []
    assert (error.code, error.reason, fields_of(error)) == (
        case.code,
        case.reason,
        expected_fields,
    )
    answer = await identify(recognizer, collection, people[0])
    assert answer.decision == IDENTIFY_DECISION_EMPTY_GALLERY
