"""Everything between the camera and the watcher, measured for report/edge.json and edge.md.

    python -m tests.faults.uplink_faults --kills 200 > build/faults.json
    python -m tests.benchmarks.bench_edge --data ../shared/data --faults build/faults.json

The kills take a quarter of an hour, the rest five minutes. Without `--data`, recall is that on the
sample photographs, and verification from whole photographs is not measured.
"""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import cv2
import structlog
import torch
import typer

from shared.faces.detect import DetectorOptions
from shared.faces.detectors import open_detector
from shared.model_directory import ModelDirectory
from tests.benchmarks import bench_camera, bench_raw_lfw, edge_services
from tests.benchmarks.bench_detection import (
    REPEATS,
    Agreement,
    compare,
    frame_of,
    in_turns,
    photographs,
)
from tests.benchmarks.edge_report import EdgeReport, WholePhotographs, WireBytes, write
from tests.benchmarks.gallery_report import Origin
from tests.faults import uplink_faults
from tests.faults.uplink_outage import outage
from tests.services.encoder.encoder_peer import Peer, serving
from tests.tiny_model import write_tiny_model

T = TypeVar("T")

_MIN_FACE = 40


def main(
    data: Annotated[
        Path | None, typer.Option(envvar="COMPACTFACE_DATA", help="Folder of research data.")
    ] = None,
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    faults: Annotated[
        Path, typer.Option(exists=True, help="File of what uplink_faults printed.")
    ] = Path("build/faults.json"),
    report: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("report"),
) -> None:
    """Measure, and write the report."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    _say("detection")
    milliseconds = _detection_ms()
    agreement, photos = _agreement(data)
    lfw = _lfw(data, models) if data else None
    _say("gateway")
    paces = _paces()
    _say("outage")
    away = _in_folder(_outage)
    _say("services")
    wire = _in_folder(lambda folder: edge_services.wire(folder, models, data))
    foot = _in_folder(lambda folder: edge_services.footprint(folder, models))
    delay = _in_folder(lambda folder: edge_services.delay(folder, models))
    killed = uplink_faults.Findings.of_json(faults.read_bytes())
    found = EdgeReport(
        detect_ms=round(milliseconds["fast"], 2),
        detect_mtcnn_ms=round(milliseconds["mtcnn"], 2),
        detect_recall=round(agreement.recall, 4),
        detect_precision=round(agreement.precision, 4),
        detect_faces=agreement.expected,
        detect_photographs=photos,
        fps_vga=round(paces["640x480", "fast"].by_processor, 1),
        fps_1080p=round(paces["1080p", "fast"].by_processor, 1),
        fps_vga_mtcnn=round(paces["640x480", "mtcnn"].by_processor, 1),
        fps_1080p_mtcnn=round(paces["1080p", "mtcnn"].by_processor, 1),
        sightings_per_visit=max(paces[size, "fast"].sightings for size in bench_camera.SIZES),
        kills=killed.kills,
        power_losses=killed.power_losses,
        facts_checked=killed.accepted,
        facts_lost=killed.lost,
        facts_doubled=killed.doubled,
        lfw=lfw,
        outage_hours=away.hours,
        outage_restarts=away.restarts,
        outage_faces=away.accepted,
        outage_lost=away.lost,
        wire_bytes=WireBytes(
            map_alone=round(wire.map_bytes, 1),
            one_at_a_time=round(wire.alone, 1),
            batched=round(wire.batched, 1),
        ),
        installed_mb=round(foot.installed_mb, 1),
        resident_mb=round(foot.resident_mb, 1),
        resident_most_mb=round(foot.resident_most_mb, 1),
        ready_s=round(foot.ready_s, 2),
        capture_to_watch_p50_ms=round(delay.p50_ms, 1),
        capture_to_watch_p99_ms=round(delay.p99_ms, 1),
        capture_to_watch_faces=delay.faces,
        capture_to_watch_load=round(delay.load, 1),
        **Origin.here().model_dump(),
    )
    write(report, found)
    _say(f"{report / 'edge.md'} written")


def _detection_ms() -> dict[str, float]:
    names = ("mtcnn", "fast")
    detectors = [open_detector(DetectorOptions(name, min_face_size=_MIN_FACE)) for name in names]
    frame = frame_of(640, 480, faces=1, side=110)
    milliseconds, _ = in_turns(detectors, frame, repeats=3 * REPEATS)
    return dict(zip(names, milliseconds, strict=True))


def _agreement(data: Path | None) -> tuple[Agreement, int]:
    photos = list(photographs(data))
    reference = open_detector(DetectorOptions("mtcnn", min_face_size=24))
    expected = [reference.detect(photo) for photo in photos]
    fast = open_detector(DetectorOptions("fast", min_face_size=_MIN_FACE))
    return compare(fast, photos, expected, min_face=_MIN_FACE), len(photos)


def _lfw(data: Path, models: Path) -> WholePhotographs:
    _say("whole photographs")
    found = bench_raw_lfw.compare(data, ModelDirectory.load(models, "default"))
    return WholePhotographs(
        photographs=found.photographs,
        pairs=found.pairs,
        fast=round(found.accuracy["fast"], 5),
        mtcnn=round(found.accuracy["mtcnn"], 5),
        low=round(found.difference.low, 5),
        high=round(found.difference.high, 5),
        cosine=round(found.cosine, 4),
    )


def _paces() -> dict[tuple[str, str], bench_camera.Pace]:
    paces = {}
    with tempfile.TemporaryDirectory() as folder, serving(Peer()) as address:
        for name, size in bench_camera.SIZES.items():
            film = bench_camera.crossing(Path(folder, f"{name}.mkv"), size=size)
            paces[name, "fast"] = bench_camera.measure(film, address, every=3, runs=3)
            paces[name, "mtcnn"] = bench_camera.measure(
                film, address, every=1, runs=1, detector="mtcnn"
            )
    return paces


async def _outage(folder: Path) -> Any:
    write_tiny_model(folder / "models", folder / "scratch")
    return await outage(folder, folder / "models")


def _in_folder(measure: Callable[[Path], Awaitable[T]]) -> T:
    async def run() -> T:
        with tempfile.TemporaryDirectory() as folder:
            return await measure(Path(folder))

    return asyncio.run(run())


def _say(text: str) -> None:
    typer.echo(text, err=True)


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    typer.run(main)
