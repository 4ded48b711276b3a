"""The gallery among many faces: speed, memory, recall, restart, and changes while it is searched.

    python -m tests.benchmarks.bench_gallery --faces 10000 --faces 1000000 --report report

What is compared with bare FAISS is measured in turns, in one process, on the same vectors: the
gallery's search confirms every hit in the database and names the subject; FAISS returns numbers.
"""

import gc
import os
import resource
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Annotated, get_args

import faiss
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.index.local_cache import IndexForm
from recognizer_service.gallery.index.sketch import sketch
from recognizer_service.gallery.types import Enrolment
from tests.benchmarks.gallery_population import FACES_PER_SUBJECT, SPACE, Population, fill
from tests.benchmarks.gallery_report import IndexRow, Origin, record_indexes
from tests.gallery_faces import new_face

RECALL_PROBES = 500
BATCH = 32
CHANGING_S = 10.0
ERASURE_S = 600.0

_TURN = 20

_BLAS_THRESHOLD = 128_000  # as FAISS 1.15 comes; the gallery sets it lower

Vectors = NDArray[np.float32]
Search = Callable[[Vectors], object]


def main(
    faces: Annotated[list[int], typer.Option(help="Sizes of gallery.")],
    work: Annotated[Path, typer.Option(help="Folder for the galleries.")] = Path("build/galleries"),
    report: Annotated[Path | None, typer.Option(help="Folder of gallery.json and .md.")] = None,
    searches: Annotated[int, typer.Option(min=10, help="Single searches per figure.")] = 200,
    index: Annotated[str | None, typer.Option(help="Only this form of index.")] = None,
) -> None:
    """Measure galleries of these sizes with every form of index."""
    forms = [form for form in get_args(IndexForm) if index in (None, form)]
    if not forms:
        raise typer.BadParameter(f"must be one of {', '.join(get_args(IndexForm))}")
    rows = []
    for size in faces:
        path = gallery_of(size, work)
        for form in forms:
            # each in a process of its own, so that memory can be told apart, and on a copy, which
            # grows while it is measured
            with (
                TemporaryDirectory(dir=work) as folder,
                ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process,
            ):
                copied = Path(copy(path, folder))
                rows.append(process.submit(measure, copied, size, form, searches).result())
            Console().print(rows[-1])
            if report:
                record_indexes(report, rows[-1:], Origin.here())
    Console().print(_table(rows))


def gallery_of(size: int, work: Path) -> Path:
    """The file of a gallery of so many faces, made if missing."""
    path = work / f"{size}.sqlite"
    if not path.exists():
        begun = time.perf_counter()
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with Gallery(partial, embedding_space=SPACE, index="sketch") as gallery:
            fill(gallery, Population(size // FACES_PER_SUBJECT))
            gallery.enroll("default", Enrolment((new_face(0),), "guest"))
            deletion = gallery.subjects.delete("default", "guest")
            gallery.database.erased(deletion.erasure, wait_s=ERASURE_S)  # not during measurements
        partial.rename(path)
        rate = size / (time.perf_counter() - begun)
        Console().print(f"restored an archive of {size} faces: {rate:.0f} faces a second")
    return path


def measure(path: Path, size: int, form: IndexForm, searches: int) -> IndexRow:
    """One form of index over one gallery."""
    population = Population(size // FACES_PER_SUBJECT)
    probes = population.probes(RECALL_PROBES)
    before, begun = _resident_bytes(), time.perf_counter()
    with Gallery(path, embedding_space=SPACE, index=form) as gallery:
        restart_s = time.perf_counter() - begun
        used = _resident_bytes() - before
        vectors = np.concatenate([batch.reshape(-1, 512) for batch in population.batches()])
        bare = _bare(form, vectors)
        ours, theirs = _side_by_side(gallery, bare, probes, searches)
        together, bare_together = _batches(gallery, bare, probes, max(3, searches // BATCH))
        recall = _recall(gallery, vectors, probes)
        del bare, vectors
        gc.collect()
        enrolled, deleted = _changes(gallery, probes)
    return IndexRow(
        size=size,
        index=form,
        recall_at_1=recall,
        p50_ms=1e3 * float(np.median(ours)),
        p99_ms=1e3 * float(np.quantile(ours, 0.99)),
        ratio_to_bare_faiss=float(np.median(ours) / np.median(theirs)),
        batched_ms_per_probe=1e3 * float(np.median(together)) / BATCH,
        batched_ratio=float(np.median(together) / np.median(bare_together)),
        bytes_per_face=used / size,
        restart_s=restart_s,
        enrolments_per_s=enrolled,
        deletions_per_s=deleted,
    )


def _bare(form: IndexForm, vectors: Vectors) -> Search:
    """The same search on nothing but FAISS as it comes, with float32 for "auto"."""
    faiss.omp_set_num_threads(1)
    if form == "sketch":
        binary = faiss.IndexBinaryFlat(512)
        binary.add(sketch(vectors)[0])

        def rank(probes: Vectors) -> list[int]:
            _, found = binary.search(sketch(probes)[0], 256)
            cosines = np.einsum("ncd,nd->nc", vectors[found], probes)
            best: list[int] = found[np.arange(len(probes)), cosines.argmax(axis=1)].tolist()
            return best

        return rank
    half = faiss.ScalarQuantizer.QT_fp16
    index = (
        faiss.IndexScalarQuantizer(512, half, faiss.METRIC_INNER_PRODUCT)
        if form == "float16"
        else faiss.IndexFlatIP(512)
    )
    index.add(vectors)

    def search(probes: Vectors) -> object:
        ours, faiss.cvar.distance_compute_blas_threshold = (
            faiss.cvar.distance_compute_blas_threshold,
            _BLAS_THRESHOLD,
        )
        try:
            return index.search(probes, 4)
        finally:
            faiss.cvar.distance_compute_blas_threshold = ours

    return search


def _side_by_side(
    gallery: Gallery, bare: Search, probes: Vectors, repeats: int
) -> tuple[list[float], list[float]]:
    """In turns of some searches; the first of a turn finds the caches full of the other's data."""
    ours: list[float] = []
    theirs: list[float] = []
    for start in range(0, repeats, _TURN):
        turn = [probes[number % len(probes)] for number in range(start, start + _TURN + 1)]
        ours += [_seconds(partial(gallery.search, "default", count=1), each) for each in turn][1:]
        theirs += [_seconds(bare, each[np.newaxis]) for each in turn][1:]
    return ours, theirs


def _batches(
    gallery: Gallery, bare: Search, probes: Vectors, repeats: int
) -> tuple[list[float], list[float]]:
    """As the service does it: callers side by side, whose searches are made in one pass."""
    ours, theirs = [], []
    with ThreadPoolExecutor(16) as threads:

        def search_all(batch: Vectors) -> None:
            list(threads.map(lambda probe: gallery.search("default", probe, count=1), batch))

        for turn in range(repeats + 1):
            start = BATCH * turn % (len(probes) - BATCH)
            batch = probes[start : start + BATCH]
            ours.append(_seconds(search_all, batch))
            theirs.append(_seconds(bare, batch))
    return ours[1:], theirs[1:]


def _recall(gallery: Gallery, vectors: Vectors, probes: Vectors) -> float:
    """How often the most similar face of all is found."""
    best = np.zeros(len(probes), int)
    highest = np.full(len(probes), -np.inf, np.float32)
    for start in range(0, len(vectors), 100_000):
        cosines = probes @ vectors[start : start + 100_000].T
        better = cosines.max(axis=1) > highest
        best[better] = start + cosines.argmax(axis=1)[better]
        highest = np.maximum(highest, cosines.max(axis=1))
    found = [gallery.search("default", probe, count=1)[0].subject_id for probe in probes]
    expected = [f"subject-{row // FACES_PER_SUBJECT + 1}" for row in best]
    return float(np.mean([ours == theirs for ours, theirs in zip(found, expected, strict=True)]))


def _changes(gallery: Gallery, probes: Vectors) -> tuple[float, float]:
    """Enrolments, then deletions, a second, while one thread searches without a pause."""
    names = (f"new-{os.getpid()}-{number}" for number in count())
    enrolled: list[str] = []

    def enroll(name: str) -> None:
        gallery.enroll("default", Enrolment((new_face(len(enrolled)),), name))
        enrolled.append(name)

    with _searching(gallery, probes):
        enrolments_per_s = _rate(enroll, names)
        deletions_per_s = _rate(partial(gallery.subjects.delete, "default"), enrolled)
    return enrolments_per_s, deletions_per_s


@contextmanager
def _searching(gallery: Gallery, probes: Vectors) -> Iterator[None]:
    done = threading.Event()

    def search() -> None:
        for turn in count():
            if done.is_set():
                return
            gallery.search("default", probes[turn % len(probes)], count=1)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _rate(change: Callable[[str], object], names: Iterable[str]) -> float:
    """Changes a second, for ten seconds or until the names run out."""
    begun, done = time.perf_counter(), 0
    for name in names:
        change(name)
        done += 1
        if time.perf_counter() - begun > CHANGING_S:
            break
    return done / (time.perf_counter() - begun)


def _seconds(call: Callable[[Vectors], object], probes: Vectors) -> float:
    begun = time.perf_counter()
    call(probes)
    return time.perf_counter() - begun


def _resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _table(rows: list[IndexRow]) -> Table:
    table = Table(*IndexRow.model_fields)
    for row in rows:
        cells = row.model_dump().values()
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells))
    return table


if __name__ == "__main__":
    typer.run(main)
