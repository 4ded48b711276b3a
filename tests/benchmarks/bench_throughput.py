"""Identifications a second through the service, as a share of what the bare networks embed.

    python -m tests.benchmarks.bench_throughput

The service runs as a process of its own, with one thread for inference, and is asked by so many
callers at once; the bare networks embed batches of as many maps on one thread. Both are measured in
turns, so that a busy machine slows both alike, and the medians are compared.
"""

import asyncio
import itertools
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
import typer

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import ON_DUPLICATE_ALLOW, EnrollRequest
from compactface.v1.recognizer_pb2 import IdentifyRequest, Probe
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory
from tests.faults.climb import sample_faces
from tests.services.processes import Process, process

BATCH = 32
CALLERS = 2 * BATCH  # while one batch is in the networks, the next one fills


def main(
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    rounds: Annotated[int, typer.Option(min=1, help="Of both.")] = 5,
    batches: Annotated[int, typer.Option(min=1, help="Of one round.")] = 3,
) -> None:
    """Print the ratio as JSON."""
    print(json.dumps(asyncio.run(measured(models.absolute(), rounds, batches))))  # noqa: T201


async def measured(models: Path, rounds: int, batches: int) -> dict[str, float]:
    """Both rates, and their ratio."""
    torch.set_num_threads(1)
    model = ModelDirectory.load(models, "default")
    faces = sample_faces(models)
    crops = np.concatenate(BATCH // len(faces) * [faces])
    encoder, decoder = OnnxCropEncoder(model), MapDecoder(model)
    maps = [CompactMap(codec_id=encoder.codec_id, png=png) for png in encoder.encode(crops)]
    symbols = [(face.codec_id, decoder.unpack(face.codec_id, face.png)) for face in maps]
    bare, served = [], []
    with tempfile.TemporaryDirectory() as folder:
        gallery = Path(folder) / "gallery.sqlite"
        log = Path(folder) / "log"
        async with process("recognizer", log, models=models, gallery=gallery) as service:
            for number, face in enumerate(maps):
                await service.gallery.Enroll(
                    EnrollRequest(
                        subject_id=str(number), maps=[face], on_duplicate=ON_DUPLICATE_ALLOW
                    )
                )
            await _identify(service, maps, BATCH)
            decoder.embed(symbols)
            for _ in range(rounds):
                began = time.perf_counter()
                for _ in range(batches):
                    await asyncio.to_thread(decoder.embed, symbols)
                bare.append(batches * BATCH / (time.perf_counter() - began))
                began = time.perf_counter()
                await _identify(service, maps, batches * BATCH)
                served.append(batches * BATCH / (time.perf_counter() - began))
    return {
        "bare_per_s": round(median(bare), 1),
        "served_per_s": round(median(served), 1),
        "throughput_ratio_32": round(median(served) / median(bare), 3),
    }


async def _identify(service: Process, maps: list[CompactMap], count: int) -> None:
    """Identify so many faces, by callers who wait for each other's places only."""
    probes = itertools.islice(itertools.cycle(maps), count)

    async def caller() -> None:
        for face in probes:
            await service.recognizer.Identify(IdentifyRequest(probe=Probe(map=face)))

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


if __name__ == "__main__":
    typer.run(main)
