"""Frames a second of the whole gateway, with one face in view, on one core.

    taskset -c 0 python -m tests.benchmarks.bench_camera

Decoding, detection, tracking, choice of the best shot, and sending it to an encoder that only
counts. Each size is read from a film as fast as the gateway can. The encoder's own time is not in
it: CompNet runs once a visit, in another process. Time of the processor is printed beside time of
the clock, since other programs may run.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry

from camera_gateway.gateway import Gateway
from camera_gateway.settings import load_settings
from command_line.output import show_table
from shared.faces.detect import DetectorName
from tests.camera_clip import COLLINS, Walk, write_clip
from tests.services.encoder.encoder_peer import Peer, serving

SIZES = {"640x480": (640, 480), "1080p": (1920, 1080)}
SECONDS = 3.0  # of somebody who crosses


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the gateway is.

    Attributes:
        by_clock: frames a second.
        by_processor: frames a second of the processor.
        sightings: of the film.
    """

    by_clock: float
    by_processor: float
    sightings: float


def main(
    runs: Annotated[int, typer.Option(help="Of each line; the median counts.")] = 3,
    rate: Annotated[int, typer.Option(help="Frames a second of the films.")] = 25,
) -> None:
    """Print a table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, serving(Peer()) as address:
        for name, size in SIZES.items():
            film = crossing(Path(folder, f"{name}.mkv"), size=size, rate=rate)
            for every in (1, 3):
                pace = measure(film, address, every=every, runs=runs)
                fps = f"{pace.by_clock:.1f}", f"{pace.by_processor:.1f}"
                rows.append([name, str(every), *fps, f"{pace.sightings:g}"])
    columns = ["frame", ">every", ">frames a second", ">... of the processor", ">sightings a visit"]
    show_table(columns, rows)


def crossing(path: Path, *, size: tuple[int, int], rate: int = 25) -> Path:
    """A film of somebody who crosses."""
    walk = Walk(COLLINS, 0, SECONDS, x=(0.1, 0.9), height=(0.2, 0.25))
    return write_clip(path, [walk], seconds=SECONDS, rate=rate, size=size)


def measure(
    film: Path, address: str, *, every: int, runs: int, detector: DetectorName = "fast"
) -> Pace:
    """Read a film so many times; the medians."""
    measured = [_read(film, address, every, detector) for _ in range(runs)]
    clock, processor, sightings = (median(column) for column in zip(*measured, strict=True))
    return Pace(1 / clock, 1 / processor, sightings)


def _read(
    film: Path, address: str, every: int, detector: DetectorName
) -> tuple[float, float, float]:
    """Seconds a frame by the clock, and of the processor; sightings."""
    registry = CollectorRegistry()
    settings = load_settings(
        [str(film)],
        encoder=address,
        metrics_port=0,
        every=every,
        detector=detector,
        log_level="error",
    )
    gateway = Gateway(settings, registry)
    clock, processor = time.perf_counter(), time.process_time()
    with gateway:
        while not gateway.finished:
            time.sleep(0.005)
        clock, processor = time.perf_counter() - clock, time.process_time() - processor

    def count(name: str) -> float:
        metric = f"compactface_camera_{name}_total"
        return registry.get_sample_value(metric, {"camera": "camera1"}) or 0

    frames = count("frames_read")
    return clock / frames, processor / frames, count("sightings")


if __name__ == "__main__":
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    typer.run(main)
