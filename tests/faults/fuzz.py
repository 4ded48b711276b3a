"""Sends invented and damaged input to everything that reads input from outside.

Targets: compact maps, pictures, gallery archives, and every method of both services, with requests
built from the protocol's descriptors. Legal answers are results and typed errors. As a script it
prints what came of each target as JSON; it ends with 1 if anything crashed::

    python -m tests.faults.fuzz --inputs 1000000
"""

import argparse
import asyncio
import io
import json
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from compactface.v1 import alerts_pb2, encoder_pb2, gallery_pb2, recognizer_pb2
from recognizer_service.gallery.archive.format import Kind, RecordReader, RecordWriter
from recognizer_service.gallery.gallery import Gallery
from shared.codec.compact_map import MapFormat, pack, unpack
from shared.errors import CompactfaceError
from shared.faces.picture import PictureLimits, decode_photo
from tests.gallery_embedder import CODEC, SeededEmbedder
from tests.gallery_faces import SPACE, person
from tests.services.asking import crop_map
from tests.services.conftest import clouds
from tests.services.hosting import Service, running_encoder, running_recognizer
from tests.tiny_model import write_tiny_model

SERVICES = (
    alerts_pb2.DESCRIPTOR.services_by_name["AlertService"],
    encoder_pb2.DESCRIPTOR.services_by_name["EncoderService"],
    gallery_pb2.DESCRIPTOR.services_by_name["GalleryService"],
    recognizer_pb2.DESCRIPTOR.services_by_name["RecognizerService"],
)
METHODS = [method for service in SERVICES for method in service.methods]
_STREAM_S = 0.2
_ANSWERED_WITHIN_S = 30.0
_DEPTH = 3
_DATA = Path(__file__).parents[1] / "data"
_STOPPED_BY_US = (grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)
_OUR_FAULT = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)

Target = Callable[[Any], None]
"""Reads one input; raises whatever is not a legal answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one target.

    Attributes:
        target: its name.
        inputs: given to it.
        crash: the smallest input that crashed it, and how; "" if none did.
    """

    target: str
    inputs: int
    crash: str


def fuzz(name: str, inputs: st.SearchStrategy[Any], target: Target, count: int) -> Outcome:
    """Give a target so many inputs, or as many as it takes to crash it."""
    given_so_far = 0

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def take(one: Any) -> None:
        nonlocal given_so_far
        given_so_far += 1
        target(one)

    try:
        take()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
        notes = " ".join(getattr(error, "__notes__", ()))
        return Outcome(name, given_so_far, f"{type(error).__name__}: {error} {notes}"[:2000])
    return Outcome(name, given_so_far, "")


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


def maps() -> tuple[st.SearchStrategy[Any], Target]:
    """Compact maps of several formats."""
    formats = [MapFormat(9, 14, 12, 4, "row"), MapFormat(3, 14, 12, 16, "rgb8")]
    chance = np.random.default_rng(0)
    files = [pack(chance.integers(0, fmt.levels, fmt.shape, np.uint8), fmt) for fmt in formats]

    def read(data: bytes) -> None:
        for fmt in formats:
            with suppress(CompactfaceError):
                symbols = unpack(data, fmt)
                assert symbols.shape == fmt.shape
                assert symbols.max() < fmt.levels

    return damaged(files) | damaged_png(files), read


def pictures() -> tuple[st.SearchStrategy[Any], Target]:
    """Pictures of all formats that are decoded within the process."""
    picture = Image.open(io.BytesIO(clouds(1)))
    files = []
    for kind, options in (
        ("PNG", {}),
        ("JPEG", {"quality": 60}),
        ("JPEG", {"quality": 60, "progressive": True}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ):
        file = io.BytesIO()
        picture.save(file, kind, **options)
        files.append(file.getvalue())
    limits = PictureLimits(max_pixels=1_000_000)

    def read(data: bytes) -> None:
        with suppress(CompactfaceError):
            photo = decode_photo(data, limits)
            assert photo.pixels.ndim == 3

    return damaged(files) | damaged_png(files[:1]), read


@contextmanager
def archives(folder: Path) -> Iterator[tuple[st.SearchStrategy[Any], Target]]:
    """Archives of a collection, fed in chunks of any size."""
    with Gallery(folder / "fuzzed.sqlite", embedding_space=SPACE) as gallery:
        gallery.collections.create("source")
        gallery.enroll("source", person(1, 2, name="Ann"))
        gallery.enroll("source", person(3))
        whole = b"".join(gallery.export("source"))
        embedder = SeededEmbedder(SPACE, codecs=[CODEC])

        def read(given_: tuple[bytes, int]) -> None:
            data, size = given_
            with (
                suppress(CompactfaceError),
                gallery.importing(collection_id="target", embedder=embedder) as importer,
            ):
                for start in range(0, len(data), size):
                    importer.feed(data[start : start + size])
                importer.finish()
            with suppress(CompactfaceError):
                gallery.collections.delete("target", force=True)

        yield (
            st.tuples(
                damaged([whole]) | damaged_archive(whole), st.sampled_from([1 << 20, 1000, 7])
            ),
            read,
        )
        assert gallery.check().ok


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


class Called:
    """The methods of running services."""

    def __init__(self, channels: dict[str, grpc.Channel]) -> None:
        self._channels = channels

    def call(self, method: MethodDescriptor, requests: Sequence[Message]) -> None:
        """Make a call; raises unless it is answered, or ends with a typed error."""
        service = method.containing_service.full_name
        kind = ("stream" if method.client_streaming else "unary") + (
            "_stream" if method.server_streaming else "_unary"
        )
        stub = getattr(self._channels[service], kind)(
            f"/{service}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        sent: Any = iter(requests) if method.client_streaming else requests[0]
        try:
            if method.server_streaming:
                _read_some(stub(sent, timeout=_STREAM_S))
            else:
                stub(sent, timeout=_ANSWERED_WITHIN_S)
        except grpc.RpcError as error:
            code = error.code()  # type: ignore[attr-defined] # every error of a call has one
            if method.server_streaming and code in _STOPPED_BY_US:
                return
            if code in _OUR_FAULT or rpc_status.from_call(error) is None:
                raise


def _read_some(answers: Any) -> None:
    try:
        for number, _ in enumerate(answers):
            if number == 2:
                return
    finally:
        answers.cancel()


async def fuzz_methods(count: int, folder: Path, only: str = "") -> list[Outcome]:
    """Fuzz the methods of both services, each with so many calls."""
    models = folder / "models"
    write_tiny_model(models, folder / "scratch")
    crop = clouds(1)
    async with (
        running_encoder(models) as encoder,
        running_recognizer(models, folder / "gallery.sqlite") as recognizer,
    ):
        blobs = [(await crop_map(encoder, crop)).png, crop]
        return await asyncio.to_thread(_fuzz_methods, encoder, recognizer, blobs, count, only)


def _fuzz_methods(
    encoder: Service, recognizer: Service, blobs: Sequence[bytes], count: int, only: str
) -> list[Outcome]:
    found = []
    addresses = {"EncoderService": encoder.address}
    channels = {
        service.full_name: grpc.insecure_channel(addresses.get(service.name, recognizer.address))
        for service in SERVICES
    }
    called = Called(channels)
    for method in METHODS:
        if only not in method.full_name:
            continue
        most = 3 if method.client_streaming else 1
        requests = st.lists(messages(method.input_type, blobs), min_size=1, max_size=most)
        found.append(fuzz(method.full_name, requests, partial(called.call, method), count))
    for channel in channels.values():
        channel.close()
    return found


def fuzz_files(count: int, folder: Path, only: str = "") -> list[Outcome]:
    """Fuzz the readers of files: most inputs are maps, as these are read fastest."""
    with archives(folder) as of_archives:
        targets = {
            "maps": (maps(), 6 * count // 10),
            "pictures": (pictures(), 3 * count // 10),
            "archives": (of_archives, count // 10),
        }
        return [
            fuzz(name, *target, max(1, share))
            for name, (target, share) in targets.items()
            if only in name
        ]


def fuzz_all(count: int, folder: Path, only: str = "") -> list[Outcome]:
    """Fuzz every target with `count` inputs in all, a tenth of them calls."""
    per_method = max(1, count // 10 // len(METHODS))
    return [
        *fuzz_files(9 * count // 10, folder, only),
        *asyncio.run(fuzz_methods(per_method, folder, only)),
    ]


def main() -> int:
    """Fuzz, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="targets whose name contains this")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = fuzz_all(options.inputs, Path(folder), options.only)
    crashes = [each for each in found if each.crash]
    result = {
        "fuzz_inputs": sum(each.inputs for each in found),
        "crashes": len(crashes),
        "seconds": round(time.monotonic() - began),
        "targets": [asdict(each) for each in found],
    }
    print(json.dumps(result, indent=1))  # noqa: T201
    return int(bool(crashes))


if __name__ == "__main__":
    sys.exit(main())
