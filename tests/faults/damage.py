"""Invented and damaged input: bytes, PNG files, archives, and messages of the protocol."""

import struct
import zlib
from collections.abc import Sequence
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from recognizer_service.gallery.archive.format import Kind, RecordReader, RecordWriter
from tests.faults.fuzzing import by_hypothesis

_DEPTH = 3


def damaged(chance: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with up to eight changes, or invented bytes."""
    data = bytearray(chance.choice([*seeds, b""]))
    if not data:
        return chance.randbytes(chance.randint(0, 512))
    for _ in range(chance.randint(0, 8)):
        place = chance.randint(0, max(0, len(data) - 1))
        match chance.randint(0, 4):
            case 0:
                data[place : place + 1] = chance.randbytes(1)
            case 1:
                del data[place : place + chance.randint(1, 64)]
            case 2:
                data[place:place] = chance.randbytes(chance.randint(1, 16))
            case 3:
                del data[place:]
            case 4:  # lengths and sizes
                extreme = [bytes(4), b"\xff" * 4, b"\0\0\0\1"]
                data[place : place + 4] = chance.choice(extreme)
    return bytes(data)


def damaged_png(chance: Random, seeds: Sequence[bytes]) -> bytes:
    """A PNG file with damaged header or samples, whose checksums and compression are right."""
    png = chance.choice(seeds)
    made, place = png[:8], 8
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        kind, content = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        place += length + 12
        if kind == b"IDAT":
            content = zlib.compress(damaged(chance, [zlib.decompress(content)]))
        elif chance.randint(0, 3) == 0:
            content = damaged(chance, [content or b"\0"])
        chunk = kind + content
        made += struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return made


def damaged_archive(chance: Random, whole: bytes) -> bytes:
    """An archive with changed, missing and repeated records, whose checksums are right."""
    writer, made = RecordWriter(), b""
    for record in RecordReader().feed(whole):
        document, blob = dict(record.document), record.blob
        for name in chance.choices([*document, "new"], k=chance.randint(0, 2)):
            if chance.randint(0, 1):
                document[name] = _json(chance)
            else:
                document.pop(name, None)
        if chance.randint(0, 3) == 0:
            blob = damaged(chance, [blob or b"\0"])
        for _ in range(chance.choice([1, 1, 1, 0, 2])):
            if record.kind is Kind.HEADER:
                made += writer.header(document)
            else:
                made += writer.record(record.kind, document, blob)
    return made + writer.end()


_ATOMS = (
    *(None, False, True, 0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**40),
    *(0.0, -0.0, 0.5, 1e-9, 5e-324, -1.7e308, 1e16),
    *("", " ", "\0", "~", "default", "a" * 300, "\u0301", "\u202e", "\U0001f600", "1970-01-01"),
)


def _json(chance: Random, depth: int = 3) -> Any:
    """Any JSON value."""
    match chance.randint(0, 5 if depth else 3):
        case 0:
            return chance.choice(_ATOMS)
        case 1:
            return _text(chance)
        case 2:
            return chance.randint(-(2 ** chance.randint(0, 80)), 2 ** chance.randint(0, 80))
        case 3:
            return chance.uniform(-1, 1) * 10.0 ** chance.randint(-300, 300)
        case 4:
            return [_json(chance, depth - 1) for _ in range(chance.randint(0, 3))]
        case _:
            return {_text(chance): _json(chance, depth - 1) for _ in range(chance.randint(0, 3))}


def _text(chance: Random) -> str:
    """Up to 20 characters of all scripts, without lone surrogates."""
    most = chance.choice([0x7F, 0xD7FF, 0x10FFFF])
    codes = [chance.randint(0, most) for _ in range(chance.randint(0, 20))]
    return "".join(chr(code) for code in codes if not 0xD800 <= code <= 0xDFFF)


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
        return by_hypothesis(lambda chance: damaged(chance, blobs))
    return _SIMPLE.get(field.type, _TEXT)
