"""What the services answer a second, as a share of what their bare models compute.

    python -m tests.benchmarks.bench_throughput

The services run as processes of their own, with one thread for inference. Identify, asked by 32, 64
and one caller at once, is compared with the networks that embed maps, in batches of 32 and one by
one. Encode is compared with the encoder that turns a picture file into maps, without gRPC. Services
and models take turns, and the ratio is the median of the turns'. A turn of a service is measured
while all callers are busy, from one answer to a later one.

The model needs a core, and everything else another one: the rest of the service, and the callers.
If other programs take a part of that, a service loses more than its model. The ratios "cpu" are
those of CPU time, the service's with all that it does besides, but without the callers': they say
less of a service's speed, but hardly depend on what else the machine does.
"""

import asyncio
import itertools
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.encoder_pb2 import PICTURE_KIND_CROP, EncodeRequest
from compactface.v1.gallery_pb2 import ON_DUPLICATE_ALLOW, EnrollRequest
from compactface.v1.recognizer_pb2 import IdentifyRequest, Probe
from encoder_service.core.encoder import Encoder, PictureKind
from shared.faces.detect import DetectorOptions
from shared.faces.detectors import open_detector
from shared.faces.display import encode_png
from shared.faces.picture import PictureLimits
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.inference.quality_head import QualityHead
from shared.model_directory import ModelDirectory
from tests.faults.climb import sample_faces
from tests.services.processes import Process, process

BATCH = 32
PHOTOS = sorted((Path(__file__).parents[1] / "data").glob("*.jpg"))
ENCODE_CALLERS = 4  # while one picture is encoded, the next ones arrive


@dataclass(frozen=True, slots=True)
class Contest:
    """A service against its model.

    Attributes:
        what: key of the ratio.
        count: answers of one turn.
        bare: computes that many with the model.
        call: asks the service for the next one.
        pid: process of the service.
        callers: how many ask at once.
    """

    what: str
    count: int
    bare: Callable[[], object]
    call: Callable[[], Awaitable[object]]
    pid: int
    callers: int

    async def ratios(self, rounds: int) -> dict[str, float]:
        """Medians of the turns' ratios, of time and of CPU time, after one turn of warm-up."""
        await self._served()
        turns = []
        for _ in range(rounds):
            began, began_cpu = time.perf_counter(), time.process_time()
            await asyncio.to_thread(self.bare)
            bare = np.array([time.perf_counter() - began, time.process_time() - began_cpu])
            turns.append(bare / await self._served())
        times, cpu_times = np.median(turns, axis=0).round(3).tolist()
        return {self.what: times, f"{self.what}_cpu": cpu_times}

    async def _served(self) -> NDArray[np.float64]:
        """Seconds and CPU seconds of the service for one turn.

        The first answers and the last ones, one of each caller, are not part of it: they fill the
        service with work, and keep it full.
        """
        left = iter(range(self.callers + self.count + self.callers))
        times: list[NDArray[np.float64]] = []

        async def caller() -> None:
            for _ in left:
                await self.call()
                times.append(np.array([time.perf_counter(), self._cpu_s()]))

        await asyncio.gather(*(caller() for _ in range(self.callers)))
        began, ended = times[self.callers - 1], times[self.callers + self.count - 1]
        return ended - began

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 5,
    batches: Annotated[int, typer.Option(min=1, help="Batches of 32 in one turn.")] = 16,
    device: Annotated[str, typer.Option(help="Of the recognizer: cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Print the ratios as JSON."""
    found = asyncio.run(measured(models.absolute(), rounds, batches, device))
    print(json.dumps(found))  # noqa: T201


async def measured(models: Path, rounds: int, batches: int, device: str) -> dict[str, float]:
    """The ratios by name."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = ModelDirectory.load(models, "default")
    faces = sample_faces(models)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        async def started(service: str, **settings: object) -> Process:
            log = folder / f"{service}.log"
            return await stack.enter_async_context(process(service, log, models=models, **settings))

        maps = _maps(model, np.concatenate(BATCH // len(faces) * [faces]))
        recognizer = await started("recognizer", gallery=folder / "gallery.sqlite", device=device)
        for number, face in enumerate(maps):
            await recognizer.gallery.Enroll(
                EnrollRequest(subject_id=str(number), maps=[face], on_duplicate=ON_DUPLICATE_ALLOW)
            )
        found: dict[str, float] = {}
        for contest in _identifications(model, maps, recognizer, batches, device):
            found |= await contest.ratios(rounds)
        encoder = await started("encoder", threads=1, uplink_spool=folder / "spool")
        for contest in _encodings(model, encode_png(faces[0]), encoder):
            found |= await contest.ratios(rounds)
    return found


def _maps(model: ModelDirectory, crops: Any) -> list[CompactMap]:
    encoder = OnnxCropEncoder(model)
    return [CompactMap(codec_id=encoder.codec_id, png=png) for png in encoder.encode(crops)]


def _identifications(
    model: ModelDirectory, maps: Sequence[CompactMap], service: Process, batches: int, device: str
) -> list[Contest]:
    decoder = MapDecoder(model, device=device, precision="auto")  # as the service does
    symbols = [(face.codec_id, decoder.unpack(face.codec_id, face.png)) for face in maps]
    probes = itertools.cycle(maps)

    def in_batches() -> None:
        for _ in range(batches):
            decoder.embed(symbols)

    def one_by_one() -> None:
        for each in symbols:
            decoder.embed([each])

    async def identify() -> None:
        await service.recognizer.Identify(IdentifyRequest(probe=Probe(map=next(probes))))

    decoder.warm_up((1, BATCH))
    pid = service.child.pid
    return [
        # While one batch is in the networks, the next one fills: of 32 callers, a part of them.
        Contest("throughput_ratio_32", batches * BATCH, in_batches, identify, pid, BATCH),
        Contest("throughput_ratio_64", batches * BATCH, in_batches, identify, pid, 2 * BATCH),
        Contest("throughput_ratio_1", len(symbols), one_by_one, identify, pid, 1),
    ]


def _encodings(model: ModelDirectory, crop: bytes, service: Process) -> list[Contest]:
    encoder = Encoder(
        detector=open_detector(
            DetectorOptions("mtcnn", min_face_size=24)
        ),  # the service's defaults
        crop_encoder=OnnxCropEncoder(model),
        limits=PictureLimits(),
        max_faces=64,
        head=QualityHead.of_model(model, None),
    )
    files = [path.read_bytes() for path in PHOTOS]
    photos = itertools.cycle(files)

    def crops_alone() -> None:
        for _ in range(BATCH):
            encoder.encode(crop, kind=PictureKind.CROP)

    def photos_alone() -> None:
        for file in 2 * files:
            encoder.encode(file)

    async def encode_crop() -> None:
        await service.encoder.Encode(EncodeRequest(image=crop, kind=PICTURE_KIND_CROP))

    async def encode_photo() -> None:
        await service.encoder.Encode(EncodeRequest(image=next(photos)))

    crops_alone()
    photos_alone()
    pid = service.child.pid
    return [
        Contest("encode_crop_ratio", BATCH, crops_alone, encode_crop, pid, ENCODE_CALLERS),
        Contest(
            "encode_photo_ratio", 2 * len(files), photos_alone, encode_photo, pid, ENCODE_CALLERS
        ),
    ]


if __name__ == "__main__":
    typer.run(main)
