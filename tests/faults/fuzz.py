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
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import grpc
import numpy as np
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status
from hypothesis import strategies as st
from PIL import Image

from compactface.v1 import alerts_pb2, encoder_pb2, gallery_pb2, recognizer_pb2
from recognizer_service.gallery.gallery import Gallery
from shared.codec.compact_map import MapFormat, pack, unpack
from shared.errors import CompactfaceError
from shared.faces.picture import PictureLimits, decode_photo
from tests.faults.damage import damaged, damaged_archive, damaged_png, messages
from tests.faults.fuzzing import Make, Outcome, Target, fuzz, fuzz_made
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
_DATA = Path(__file__).parents[1] / "data"
_STOPPED_BY_US = (grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)
_OUR_FAULT = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


def maps() -> tuple[Make, Target]:
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

    return _in_either_way(files, files), read


def _in_either_way(files: Sequence[bytes], png_files: Sequence[bytes]) -> Make:
    def make(chance: Random) -> bytes:
        if chance.randint(0, 1):
            return damaged_png(chance, png_files)
        return damaged(chance, files)

    return make


def pictures() -> tuple[Make, Target]:
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

    return _in_either_way(files, files[:1]), read


@contextmanager
def archives(folder: Path) -> Iterator[tuple[Make, Target]]:
    """Archives of a collection, fed in chunks of any size."""
    with Gallery(folder / "fuzzed.sqlite", embedding_space=SPACE) as gallery:
        gallery.collections.create("source")
        gallery.enroll("source", person(1, 2, name="Ann"))
        gallery.enroll("source", person(3))
        whole = b"".join(gallery.archives.export("source"))
        embedder = SeededEmbedder(SPACE, codecs=[CODEC])

        def read(given_: tuple[bytes, int]) -> None:
            data, size = given_
            with (
                suppress(CompactfaceError),
                gallery.archives.importing(collection_id="target", embedder=embedder) as importer,
            ):
                for start in range(0, len(data), size):
                    importer.feed(data[start : start + size])
                importer.finish()
            with suppress(CompactfaceError):
                gallery.collections.delete("target", force=True)

        def make(chance: Random) -> tuple[bytes, int]:
            some = damaged_archive(chance, whole)
            data = some if chance.randint(0, 1) else damaged(chance, [whole])
            return data, chance.choice([1 << 20, 1000, 7])

        yield make, read
        assert gallery.check().ok


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
            fuzz_made(name, *target, max(1, share))
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
