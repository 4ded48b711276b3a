"""Invented and damaged input: bytes, PNG files, archives, and messages of the protocol."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from recognizer_service.gallery.archive.format import Kind, RecordReader, RecordWriter

_DEPTH = 3


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with up to eight changes, or invented bytes."""
    data = bytearray(draw(st.sampled_from([*seeds, b""])))
    if not data:
        return draw(st.binary(max_size=512))
    for _ in range(draw(st.integers(0, 8))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 4)):
            case 0:
                data[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                del data[place : place + draw(st.integers(1, 64))]
            case 2:
                data[place:place] = draw(st.binary(min_size=1, max_size=16))
            case 3:
                del data[place:]
            case 4:  # lengths and sizes
                extreme = [bytes(4), b"\xff" * 4, b"\0\0\0\1"]
                data[place : place + 4] = draw(st.sampled_from(extreme))
    return bytes(data)


@st.composite
def damaged_png(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A PNG file with damaged header or samples, whose checksums and compression are right."""
    png = draw(st.sampled_from(seeds))
    made, place = png[:8], 8
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        kind, content = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        place += length + 12
        if kind == b"IDAT":
            content = zlib.compress(draw(damaged([zlib.decompress(content)])))
        elif draw(st.integers(0, 3)) == 0:
            content = draw(damaged([content or b"\0"]))
        chunk = kind + content
        made += struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return made


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@st.composite
def damaged_archive(draw: st.DrawFn, whole: bytes) -> bytes:
    """An archive with changed, missing and repeated records, whose checksums are right."""
    writer, made = RecordWriter(), b""
    for record in RecordReader().feed(whole):
        document, blob = dict(record.document), record.blob
        for name in draw(st.lists(st.sampled_from([*document, "new"]), max_size=2)):
            if draw(st.booleans()):
                document[name] = draw(_JSON)
            else:
                document.pop(name, None)
        if draw(st.integers(0, 3)) == 0:
            blob = draw(damaged([blob or b"\0"]))
        for _ in range(draw(st.sampled_from([1, 1, 1, 0, 2]))):
            if record.kind is Kind.HEADER:
                made += writer.header(document)
            else:
                made += writer.record(record.kind, document, blob)
    return made + writer.end()


def messages(kind: Any, blobs: Sequence[bytes], depth: int = _DEPTH) -> st.SearchStrategy[Message]:
    """Messages of a type, any of whose fields may be set to anything."""
    fields = {
        field.name: _values(field, blobs, depth)
        for field in kind.fields
        if field.type != FieldDescriptor.TYPE_MESSAGE or depth
    }
    return st.fixed_dictionaries({}, optional=fields).map(lambda given_: _filled(kind, given_))


def _filled(kind: Any, values: dict[str, Any]) -> Message:
    message: Any = GetMessageClass(kind)()
    for name, value in values.items():
        field = kind.fields_by_name[name]
        if field.message_type and field.message_type.GetOptions().map_entry:
            getattr(message, name).update(value)
        elif field.is_repeated:
            getattr(message, name).extend(value)
        elif field.message_type:
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)
    return message


def _values(field: FieldDescriptor, blobs: Sequence[bytes], depth: int) -> st.SearchStrategy[Any]:
    entry = field.message_type
    if entry and entry.GetOptions().map_entry:
        key, value = (_one(each, blobs, 0) for each in entry.fields)
        return st.dictionaries(key, value, max_size=3)
    one = _one(field, blobs, depth)
    return st.lists(one, max_size=3) if field.is_repeated else one


_INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}


# Nobody else is to be called.
_TEXT = st.sampled_from(["", "default", "ada", "fuzzed", "display_name"]) | st.text(
    st.characters(exclude_categories=("Cs",)), max_size=40
).filter(lambda text: "://" not in text)
_SIMPLE = {
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_ENUM: st.integers(0, 4) | st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_FLOAT: st.floats(0, 1, width=32) | st.floats(width=32),
    FieldDescriptor.TYPE_DOUBLE: st.floats(0, 1) | st.floats(),
}


def _one(field: FieldDescriptor, blobs: Sequence[bytes], depth: int) -> st.SearchStrategy[Any]:
    if field.type in _INTEGERS:
        return st.integers(0, 3) | st.integers(*_INTEGERS[field.type])
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return messages(field.message_type, blobs, depth - 1)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return damaged(blobs)
    return _SIMPLE.get(field.type, _TEXT)
