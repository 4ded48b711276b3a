"""Latency of the domain's objects on one core, without gRPC: from a photo to an identity.

    python tests/benchmarks/bench_latency.py --models deploy/models

Every number is the median of repeated calls after a warm-up. What is compared is measured in
turns, call by call, so that a busy machine slows both sides alike.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from encoder_service.core.encoder import EncodedFace, Encoder
from recognizer_service.core.attempts import Allowance, Attempts
from recognizer_service.core.batching import Batcher
from recognizer_service.core.networks import ModelInUse, Networks
from recognizer_service.core.recognizer import Recognizer
from recognizer_service.core.types import Criterion, FaceMap, Question
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.types import Embedding, Enrolment, NewFace
from recognizer_service.metrics import RecognizerMetrics
from shared.faces.detect import DetectorOptions
from shared.faces.detectors import open_detector
from shared.faces.picture import PictureLimits
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import CodedMap, MapDecoder
from shared.inference.torch_crop_encoder import TorchCropEncoder
from shared.model_directory import ModelDirectory
from shared.serving.background import Background

PHOTOS = sorted((Path(__file__).parents[1] / "data").glob("*.jpg"))
COLLECTION = "default"
FACES_PER_SUBJECT = 10
BATCHES = (1, 8, 32)


def main(
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    family: Annotated[str, typer.Option(help="Model family.")] = "default",
    repeats: Annotated[int, typer.Option(min=1, help="Calls per number.")] = 20,
    gallery_faces: Annotated[int, typer.Option(min=10, help="Faces to search.")] = 10_000,
) -> None:
    """Print tables of what each stage takes on one core."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = ModelDirectory.load(models, family)
    console = Console()
    console.print(f"{family}/{model.manifest.version}, {model.manifest.default_point}, one core")
    faces = bench_photos(model, repeats, console)
    crops = np.stack([faces[row % len(faces)].crop for row in range(max(BATCHES))])
    bench_runtimes(model, crops, repeats, console)
    decoder = MapDecoder(model)
    decoder.warm_up(BATCHES)
    codec_id = model.codec().codec_id
    maps = [FaceMap(codec_id, face.png) for face in faces]
    rounded = MapDecoder(model, precision="bfloat16")
    rounded.warm_up(BATCHES)
    bench_embedding(decoder, rounded, maps, repeats, console)
    asyncio.run(bench_identify(decoder, maps, repeats, gallery_faces, console))


def bench_photos(model: ModelDirectory, repeats: int, console: Console) -> list[EncodedFace]:
    """Photo file to compact maps, stage by stage; returns the faces of all photos."""
    encoder = Encoder(
        detector=open_detector(DetectorOptions("fast", min_face_size=24)),
        crop_encoder=OnnxCropEncoder(model),
        limits=PictureLimits(),
        max_faces=64,
    )
    files = [path.read_bytes() for path in PHOTOS]
    faces = [face for file in files for face in encoder.encode(file).faces]
    stages = [asdict(encoder.encode(file).timings) for _ in range(repeats) for file in files]
    table = Table(
        "stage", "ms per photo", title=f"Encode: {len(PHOTOS)} photos, {len(faces)} faces"
    )
    for stage in stages[0]:
        table.add_row(stage.removesuffix("_ms"), _ms(median(row[stage] for row in stages)))
    table.add_row("all", _ms(median(sum(row.values()) for row in stages)))
    console.print(table)
    return faces


def bench_runtimes(
    model: ModelDirectory, crops: NDArray[np.uint8], repeats: int, console: Console
) -> None:
    """CompNet on ONNX Runtime against torch eager."""
    onnx, eager = OnnxCropEncoder(model), TorchCropEncoder(model)
    table = Table("crops", "ONNX Runtime, ms", "torch eager, ms", "ratio", title="CompNet")
    for size in BATCHES:
        batch = crops[:size]
        ours, theirs = _in_turns(
            partial(onnx.latents, batch),
            partial(eager.latents, batch),
            repeats=repeats,
        )
        table.add_row(str(size), _ms(ours), _ms(theirs), f"{theirs / ours:.2f}")
    console.print(table)


def bench_embedding(
    decoder: MapDecoder,
    rounded: MapDecoder,
    maps: list[FaceMap],
    repeats: int,
    console: Console,
) -> None:
    """Map to embedding: the PNG file, then RecNet and extractor, in float32 and in bfloat16."""

    def unpacked(size: int) -> list[CodedMap]:
        chosen = [maps[row % len(maps)] for row in range(size)]
        return [(face.codec_id, decoder.unpack(face.codec_id, face.png)) for face in chosen]

    table = Table(
        "maps", "unpack, ms each", "embed, ms each", "in bfloat16", "ratio", title="Embed"
    )
    for size in BATCHES:
        batch = unpacked(size)
        unpack, exact, half = _in_turns(
            partial(unpacked, size),
            partial(decoder.embed, batch),
            partial(rounded.embed, batch),
            repeats=repeats,
        )
        each = [_ms(time / size) for time in (unpack, exact, half)]
        table.add_row(str(size), *each, f"{exact / half:.2f}")
    console.print(table)
    every = unpacked(len(maps))
    exact_vectors, half_vectors = decoder.embed(every), rounded.embed(every)
    cosine = float((exact_vectors * half_vectors).sum(1).min())
    similarities = (vectors @ vectors.T for vectors in (exact_vectors, half_vectors))
    apart = float(np.abs(np.subtract(*similarities)).max())
    console.print(
        f"{len(every)} faces in bfloat16: least cosine to float32 {cosine:.5f}, similarities "
        f"change by at most {apart:.4f}"
    )


async def bench_identify(
    decoder: MapDecoder, maps: list[FaceMap], repeats: int, gallery_faces: int, console: Console
) -> None:
    """Map to identity through the batcher and a gallery on disk, one question at a time."""
    with _recognizer(decoder) as recognizer:
        _fill(recognizer.gallery, gallery_faces)
        recognizer.model.networks.start()
        stages = []
        for turn in range(1 + repeats):
            began = time.perf_counter()
            answer = await recognizer.identifier.identify(
                Question(
                    COLLECTION,
                    maps[turn % len(maps)],
                    Criterion(min_similarity=0.5),
                    max_subjects=5,
                )
            )
            whole = 1000 * (time.perf_counter() - began)
            stages.append(asdict(answer.timings) | {"all": whole})
        await recognizer.model.networks.close()
    table = Table("stage", "ms", title=f"Identify: one of {gallery_faces:,} faces")
    for stage in stages[0]:
        table.add_row(stage.removesuffix("_ms"), _ms(median(row[stage] for row in stages[1:])))
    console.print(table)


@contextmanager
def _recognizer(decoder: MapDecoder) -> Iterator[Recognizer]:
    """The recognizer as the service puts it together, over an empty gallery."""
    registry = CollectorRegistry()
    metrics, background = RecognizerMetrics(registry), Background(registry)
    batcher: Batcher[CodedMap, tuple[Embedding, float]] = Batcher(
        lambda maps: list(zip(*decoder.embed_with_lengths(maps), strict=True)),
        max_batch=32,
        max_wait_s=0.002,
        max_queue=512,
        observer=metrics,
        background=background,
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(4) as executor,
        Gallery(Path(folder) / "gallery.db", embedding_space=decoder.embedding_space) as gallery,
    ):
        model = ModelInUse(Networks(decoder, batcher, min_quality=0.0))
        yield Recognizer(
            model=model,
            gallery=gallery,
            readers=executor,
            writers=executor,
            metrics=metrics,
            attempts=Attempts(
                on_subject=Allowance(1, 1), near_misses=Allowance(1, 1), observer=metrics
            ),
        )


def _fill(gallery: Gallery, count: int) -> None:
    """Enrol random unit vectors, several a subject."""
    random = np.random.default_rng(0)
    codec_id, png = "0" * 16, bytes(300)
    for _ in range(count // FACES_PER_SUBJECT):
        vectors = random.standard_normal((FACES_PER_SUBJECT, 512)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        faces = tuple(NewFace(codec_id, png, vector) for vector in vectors)
        gallery.enroll(COLLECTION, Enrolment(faces))


def _in_turns(*calls: Callable[[], object], repeats: int) -> list[float]:
    """Median milliseconds of each call, measured alternately after one round of warm-up."""
    rounds = []
    for _ in range(1 + repeats):
        durations = []
        for call in calls:
            began = time.perf_counter()
            call()
            durations.append(1000 * (time.perf_counter() - began))
        rounds.append(durations)
    return [median(durations) for durations in zip(*rounds[1:], strict=True)]


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.2f}"


if __name__ == "__main__":
    typer.run(main)
