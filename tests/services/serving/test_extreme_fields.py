"""Every number and every text of every request at its extremes: a typed error or an answer."""

import base64
import math
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from compactface.v1 import alerts_pb2, gallery_pb2, recognizer_pb2
from compactface.v1.compact_map_pb2 import CompactMap
from tests.services.asking import enroll
from tests.services.hosting import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVICES = {
    "alerts": alerts_pb2.DESCRIPTOR.services_by_name["AlertService"],
    "gallery": gallery_pb2.DESCRIPTOR.services_by_name["GalleryService"],
    "recognizer": recognizer_pb2.DESCRIPTOR.services_by_name["RecognizerService"],
}
METHODS = [
    (stub, method)
    for stub, service in SERVICES.items()
    for method in service.methods
    if not method.client_streaming and not method.server_streaming
]
INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), -1, 0, 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), -1, 0, 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**31, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**63 - 1, 2**63, 2**64 - 1),
}
REALS = (math.nan, math.inf, -math.inf, -1.0, 0.0, 1.0, 5e-324, 1e-300, 1e38)


def token(text: str) -> str:
    """A page token that looks like ours."""
    return base64.urlsafe_b64encode(text.encode()).decode()


TEXTS = (
    "\0", "a\0b", "\ufffe", "e\u0301" * 200, "x" * 10_000, "~", "~~1", "'", "%",
    token("1:" + 40 * "9"), token("1:-1"), token("1:9223372036854775808"), token("1:x"),
    token("1:"), token("1:\0"), token("1: 1_0 "), token("1:\u0661"), "=", "MTo",
)  # fmt: skip


def extremes(field: FieldDescriptor) -> tuple[Any, ...]:
    if field.type in INTEGERS:
        return INTEGERS[field.type]
    if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return REALS
    if field.type == FieldDescriptor.TYPE_ENUM:
        return (-1, 99, 2**31 - 1)
    return TEXTS if field.type == FieldDescriptor.TYPE_STRING else ()


def places(message: Message, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths to all fields that hold one value."""
    for field in message.DESCRIPTOR.fields:
        if field.is_repeated:
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if len(path) < 3:
                yield from places(GetMessageClass(field.message_type)(), (*path, field.name))
        else:
            yield (*path, field.name)


def sound(method: MethodDescriptor, collection: str, face: CompactMap) -> Message:
    """A request that would be answered, or nearly."""
    request = GetMessageClass(method.input_type)()
    names = {field.name for field in request.DESCRIPTOR.fields}
    for name, value in (
        ("subject_id", "ada"),
        ("reason", "test"),
        ("page_size", 10),
        ("erasure", 1),
    ):
        if name in names:
            setattr(request, name, value)
    for name in ("collection", "collection_id"):
        if (
            name in names
            and request.DESCRIPTOR.fields_by_name[name].type == FieldDescriptor.TYPE_STRING
        ):
            setattr(request, name, collection)
    if "maps" in names:
        request.maps.append(face)
    if "map" in names:
        request.map.CopyFrom(face)
    if "probe" in names:
        request.probe.map.CopyFrom(face)
    if method.name == "UpdateSubject":
        request.update_mask.paths.extend(["display_name", "expire_time"])
    if method.name == "UpdateCollection":
        request.collection.collection_id = collection
        paths = ("max_fpir", "max_fmr", "sighting_retention", "max_subjects", "max_faces")
        request.update_mask.paths.extend([*paths, "subject_retention", "subject_score"])
        request.collection.max_fpir = request.collection.max_fmr = 0.01
    return request


@pytest.mark.parametrize(("stub", "method"), METHODS, ids=lambda value: getattr(value, "name", ""))
async def test_every_field_at_its_extremes(
    recognizer: Service, collection: str, people: list[CompactMap], stub: str, method: Any
) -> None:
    await enroll(recognizer, collection, "ada", people[0])
    call = getattr(getattr(recognizer, stub), method.name)
    wrong: list[str] = []
    for path in places(sound(method, collection, people[0])):
        request = sound(method, collection, people[0])
        holder: Any = request
        for name in path[:-1]:
            holder = getattr(holder, name)
        for value in extremes(holder.DESCRIPTOR.fields_by_name[path[-1]]):
            setattr(holder, path[-1], value)
            try:
                await call(request)
            except grpc.aio.AioRpcError as error:
                untyped = error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
                if untyped or rpc_status.from_call(error) is None:
                    wrong.append(f"{'.'.join(path)} = {value!r:.60}: {error.code()}")
    assert not wrong


async def test_the_service_works_on(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    """What the questions above have left can be listed."""
    await enroll(recognizer, collection, "eve", people[1])
    for name in ("ListCollections", "ListAuditEvents"):
        request = getattr(gallery_pb2, f"{name}Request")(page_size=1000)
        await getattr(recognizer.gallery, name)(request)
    found = (
        await recognizer.gallery.ListCollections(gallery_pb2.ListCollectionsRequest(page_size=1000))
    ).collections
    for each in found:
        await recognizer.gallery.ListSubjects(
            gallery_pb2.ListSubjectsRequest(collection=each.collection_id, page_size=1000)
        )
