"""What the encoder takes of a machine and of a network, and how soon a watcher knows.

Real services with the shipped model, on loopback.
"""

import asyncio
import io
import os
import time
import tomllib
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import Distribution, distribution
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image, ImageEnhance

from compactface.v1.encoder_pb2 import (
    PICTURE_KIND_CROP,
    PICTURE_KIND_PHOTO,
    EncodeRequest,
)
from compactface.v1.recognizer_pb2 import GetRecognizerInfoRequest, WatchSightingsRequest
from shared.faces.align import align
from shared.faces.detect import DetectorOptions
from shared.faces.detectors import open_detector
from shared.faces.display import encode_png
from tests.benchmarks.bench_detection import PHOTOS, frame_of, photographs
from tests.services.asking import CAMERAS
from tests.services.authority import Authority
from tests.services.conftest import clouds
from tests.services.hosting import Service, running_encoder, running_recognizer, until
from tests.services.processes import ROOT, process
from tests.services.relay import Relay, listening

_LATE_S = 60.0
_FREED_AFTER_S = 6.0  # see `shared.serving.freed_memory`
_AT_REST_S = 0.2  # until answers and window updates of HTTP/2 are through
_PACKAGES = ("camera_gateway", "command_line", "encoder_service", "recognizer_service")
_PACKAGES += ("shared", "web_gateway", "deploy/models/default")


@dataclass(frozen=True, slots=True)
class Wire:
    """Bytes between encoder and recognizer, both ways, with mutual TLS and HTTP/2.

    Attributes:
        map_bytes: of the map alone, on average.
        alone: a face that travels alone, over an open connection.
        batched: a face of those that had waited, the handshakes included.
        faces: that were measured, each way.
    """

    map_bytes: float
    alone: float
    batched: float
    faces: int


async def wire(
    folder: Path, models: Path, data: Path | None, *, alone: int = 40, batched: int = 256
) -> Wire:
    """Count the bytes of faces that travel alone, and of those that waited for a connection."""
    authority = Authority(folder, "authority")
    certificate, key = authority.issue("server")
    mine, my_key = authority.issue("gate-7")
    files = crops(alone + batched, data)
    sizes: list[int] = []

    async def forward(encoder: Service, crop: bytes) -> None:
        request = EncodeRequest(image=crop, kind=PICTURE_KIND_CROP, forward=True)
        (face,) = (await encoder.encoder.Encode(request)).faces
        sizes.append(face.size_bytes)

    async with AsyncExitStack() as stack:
        recognizer = await stack.enter_async_context(
            running_recognizer(
                models,
                folder / "gallery.sqlite",
                stream_collection=CAMERAS,
                tls_certificate=certificate,
                tls_key=key,
                tls_client_ca=authority.certificate,
            )
        )
        relay = await stack.enter_async_context(listening(Relay(recognizer.host.port)))
        encoder = await stack.enter_async_context(
            running_encoder(
                models,
                uplink_target=f"localhost:{relay.port}",
                uplink_ca=authority.certificate,
                uplink_certificate=mine,
                uplink_key=my_key,
            )
        )

        async def at_rest() -> int:
            await until(lambda: not encoder.sample("compactface_uplink_depth"), seconds=_LATE_S)
            await asyncio.sleep(_AT_REST_S)
            return relay.there + relay.back

        await forward(encoder, files[0])  # connects
        before = await at_rest()
        for crop in files[:alone]:
            await forward(encoder, crop)
            after = await at_rest()
        relay.refusing = True
        relay.close()
        await until(lambda: encoder.sample("compactface_uplink_breaks_total") > 0, seconds=_LATE_S)
        for crop in files[alone:]:
            await forward(encoder, crop)
        waiting = relay.there + relay.back
        relay.refusing = False
        arrived = await at_rest()
    return Wire(
        map_bytes=sum(sizes) / len(sizes),
        alone=(after - before) / alone,
        batched=(arrived - waiting) / batched,
        faces=alone + batched,
    )


@dataclass(frozen=True, slots=True)
class Footprint:
    """The encoder as a process.

    Attributes:
        installed_mb: files of `compactface[encoder]` and all that it depends on, without Python.
        resident_mb: memory, with an uplink, two seconds after some photographs.
        resident_most_mb: the most that it had from its start.
        ready_s: from the start of the process to the first call that it would take.
    """

    installed_mb: float
    resident_mb: float
    resident_most_mb: float
    ready_s: float


async def footprint(folder: Path, models: Path, *, starts: int = 3) -> Footprint:
    """Start the encoder so many times; medians."""
    resident, most, ready = [], [], []
    for number in range(starts):
        began = time.monotonic()
        async with process(
            "encoder",
            folder / "encoder.jsonl",
            models=models,
            uplink_target="127.0.0.1:9",
            uplink_spool=folder / f"spool-{number}",
        ) as encoder:
            ready.append(time.monotonic() - began)
            for photo in PHOTOS:
                await encoder.encoder.Encode(EncodeRequest(image=photo.read_bytes(), forward=True))
            most.append(_memory_mb(encoder.child.pid, "VmHWM"))
            await asyncio.sleep(_FREED_AFTER_S)
            resident.append(_memory_mb(encoder.child.pid, "VmRSS"))
    return Footprint(installed_mb("encoder"), median(resident), median(most), median(ready))


def installed_mb(extra: str) -> float:
    """Megabytes (1e6) of files of this distribution's extra and of all its dependencies.

    The distribution itself counts with its packages and the shipped model, as in a wheel.
    """
    files = sum(_size(one) for one in _closure(extra).values())
    own = (path for package in _PACKAGES for path in (ROOT / package).rglob("*"))
    return (files + sum(path.stat().st_size for path in own if _is_shipped(path))) / 1e6


def _closure(extra: str) -> dict[str, Distribution]:
    seen: set[tuple[str, str]] = set()
    queue = [("compactface", extra), ("compactface", "")]
    while queue:
        name, wanted = queue.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        for text in _ours(wanted) if name == "compactface" else distribution(name).requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": wanted}):
                other = canonicalize_name(needed.name)
                queue += [(other, more) for more in ("", *needed.extras)]
    return {name: distribution(name) for name, _ in seen if name != "compactface"}


def _ours(extra: str) -> list[str]:
    """What this distribution requires, by its source."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required: list[str] = project["optional-dependencies"].get(extra, project["dependencies"])
    return required


def _size(one: Distribution) -> int:
    paths = (Path(str(one.locate_file(file))) for file in one.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file())


def _is_shipped(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _memory_mb(pid: int, which: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{which}:"))
    return int(line.split()[1]) * 1024 / 1e6


@dataclass(frozen=True, slots=True)
class Delay:
    """Milliseconds from a frame's capture to the watcher who reads of its face.

    Attributes:
        p50_ms: median.
        p99_ms: 99th percentile.
        faces: that were measured.
        load: load average of the machine at the end, all programs together.
    """

    p50_ms: float
    p99_ms: float
    faces: int
    load: float


async def delay(folder: Path, models: Path, *, faces: int = 200, apart_s: float = 0.2) -> Delay:
    """Forward VGA frames with one face each, at a steady pace, while somebody watches."""
    frames = _frames()
    seen: dict[str, float] = {}
    captured: dict[str, float] = {}
    async with (
        process(
            "recognizer",
            folder / "recognizer.jsonl",
            models=models,
            gallery=folder / "gallery.sqlite",
            stream_collection=CAMERAS,
        ) as recognizer,
        process(
            "encoder",
            folder / "encoder.jsonl",
            models=models,
            detector="fast",
            uplink_target=recognizer.events("listening")[0]["address"],
            uplink_spool=folder / "spool",
        ) as encoder,
    ):
        await recognizer.recognizer.GetRecognizerInfo(GetRecognizerInfoRequest())
        call = recognizer.recognizer.WatchSightings(WatchSightingsRequest(collection=CAMERAS))
        watching = asyncio.create_task(_watch(call, seen))
        for number in range(-10, faces):  # the first are a warm-up
            began = time.monotonic()
            request = EncodeRequest(
                image=frames[number % len(frames)], kind=PICTURE_KIND_PHOTO, forward=True
            )
            request.capture_time.FromDatetime(datetime.now(UTC))
            (face,) = (await encoder.encoder.Encode(request)).faces
            if number >= 0:
                captured[face.sighting_id] = began
            await asyncio.sleep(max(0.0, began + apart_s - time.monotonic()))
        await until(lambda: captured.keys() <= seen.keys(), seconds=_LATE_S)
        watching.cancel()
    took_ms = [1000 * (seen[id_] - began) for id_, began in captured.items()]
    load, *_ = os.getloadavg()
    return Delay(median(took_ms), float(np.percentile(took_ms, 99)), faces, load)


async def _watch(call: Any, seen: dict[str, float]) -> None:
    async for answer in call:
        seen[answer.sighting_id] = time.monotonic()


def crops(count: int, data: Path | None) -> Sequence[bytes]:
    """Aligned faces of different people as PNG files; clouds where there are too few photographs.

    No two may be alike, since maps of one message are compressed together.
    """
    faces = [encode_png(crop) for crop in aligned(data)]
    return [*faces[:count], *(clouds(seed) for seed in range(count - len(faces)))]


def aligned(data: Path | None) -> Sequence[NDArray[np.uint8]]:
    """The most prominent face of each photograph, (112, 96, 3) RGB."""
    detector = open_detector(DetectorOptions("fast"))
    return [
        align(photo, found.landmarks, template=detector.template)
        for photo in photographs(data)
        for found in detector.detect(photo)[:1]
    ]


def _frames() -> Sequence[bytes]:
    """A VGA frame with a face, lighter and darker, as JPEG files."""
    frame = Image.fromarray(frame_of(640, 480, faces=1, side=110))
    files = []
    for step in range(9):
        file = io.BytesIO()
        ImageEnhance.Brightness(frame).enhance(0.8 + 0.05 * step).save(file, "JPEG")
        files.append(file.getvalue())
    return files
