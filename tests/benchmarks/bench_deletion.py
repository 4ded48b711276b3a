"""Deleting people from a large gallery while it is searched.

    python -m tests.benchmarks.bench_deletion --faces 10000 --faces 1000000

Subjects are deleted by some callers side by side, all over the gallery, while another thread
searches without a pause. What searching takes is measured before, meanwhile, and once all is
erased.
"""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from recognizer_service.gallery.gallery import Gallery
from tests.benchmarks.bench_gallery import ERASURE_S, gallery_of
from tests.benchmarks.gallery_population import FACES_PER_SUBJECT, SPACE, Population

SECONDS = 20.0


def main(
    faces: Annotated[list[int], typer.Option(help="Sizes of gallery.")],
    work: Annotated[Path, typer.Option(help="Folder for the galleries.")] = Path("build/galleries"),
    callers: Annotated[int, typer.Option(min=1, help="Who delete at once.")] = 8,
) -> None:
    """Measure deletion from galleries of these sizes."""
    table = Table(
        "faces", "deletions/s", "p99 of one, ms", "erased after, s", "search p50/p99 before, ms",
        "meanwhile", "after",
    )  # fmt: skip
    for size in faces:
        with TemporaryDirectory(dir=work) as folder:
            table.add_row(*measure(Path(copy(gallery_of(size, work), folder)), size, callers))
    Console(width=140).print(table)


def measure(path: Path, size: int, callers: int) -> list[str]:
    """One row of the table."""
    population = Population(size // FACES_PER_SUBJECT)
    probes = population.probes(200)
    doomed = random.Random(0).sample(range(1, population.subjects + 1), population.subjects)  # noqa: S311
    with Gallery(path, embedding_space=SPACE) as gallery:
        with _searching(gallery, probes) as before:
            time.sleep(SECONDS / 2)
        deletions: list[float] = []
        erasures: list[int] = []
        with _searching(gallery, probes) as meanwhile:
            begun = time.perf_counter()

            def delete(_: int) -> None:
                while doomed and time.perf_counter() - begun < SECONDS:
                    started = time.perf_counter()
                    deletion = gallery.subjects.delete("default", f"subject-{doomed.pop()}")
                    deletions.append(time.perf_counter() - started)
                    erasures.append(deletion.erasure)

            with ThreadPoolExecutor(callers) as threads:
                list(threads.map(delete, range(callers)))
            passed = time.perf_counter() - begun
            erased = gallery.database.erased(max(erasures), wait_s=ERASURE_S)
            erased_s = time.perf_counter() - begun - passed
        with _searching(gallery, probes) as after:
            time.sleep(SECONDS / 2)
    return [
        str(size),
        f"{len(deletions) / passed:.1f}",
        f"{1e3 * np.quantile(deletions, 0.99):.1f}",
        f"{erased_s:.2f}" if erased else "never",
        *map(_quantiles, (before, meanwhile, after)),
    ]


@contextmanager
def _searching(gallery: Gallery, probes: NDArray[np.float32]) -> Iterator[list[float]]:
    """Seconds of each search, by one thread that searches until the block ends."""
    done, seconds = threading.Event(), list[float]()

    def search() -> None:
        for turn in count():
            if done.is_set():
                return
            begun = time.perf_counter()
            gallery.search("default", probes[turn % len(probes)], count=1)
            seconds.append(time.perf_counter() - begun)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield seconds
    finally:
        done.set()
        thread.join()


def _quantiles(seconds: list[float]) -> str:
    return f"{1e3 * np.median(seconds):.1f} / {1e3 * np.quantile(seconds, 0.99):.1f}"


if __name__ == "__main__":
    typer.run(main)
