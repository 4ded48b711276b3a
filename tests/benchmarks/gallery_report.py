"""report/gallery.json and gallery.md: what benchmarks and fault trials have found of the gallery.

Each of them records its own section and leaves the others as they are. The identification rates
are those of `compactface evaluate report`, taken over from its results.json by

    python -m tests.benchmarks.gallery_report
"""

import os
import platform
import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from shared.evaluation.names import OWN
from shared.evaluation.rows import read_results
from shared.evaluation.runs import software_commit
from shared.record import Record


class Origin(Record):
    """Where figures come from; results.json does not name the machine.

    Attributes:
        command: command line.
        commit: of the program.
        time: in ISO 8601.
        machine: cores and architecture.
        load: processes that ran or waited, averaged over the last five minutes.
    """

    command: str
    commit: str
    time: str
    machine: str | None = None
    load: float | None = None

    @classmethod
    def here(cls) -> "Origin":
        """This process."""
        module = sys.modules["__main__"].__spec__
        name = f"python -m {module.name}" if module else sys.argv[0]
        return cls(
            command=shlex.join([*name.split(), *sys.argv[1:]]),
            commit=software_commit(),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=f"{os.cpu_count()} cores, {platform.machine()}",
            load=round(os.getloadavg()[1], 1),
        )


class IndexRow(Record):
    """One form of index at one size.

    Attributes:
        size: faces.
        index: form; see `IndexForm`.
        recall_at_1: how often the most similar face of all was found.
        p50_ms: of a single search, one thread.
        p99_ms: likewise.
        ratio_to_bare_faiss: of the medians; FAISS alone returns numbers and no subjects.
        batched_ms_per_probe: of 32 searches from 16 threads.
        batched_ratio: to 32 probes in one call of FAISS.
        bytes_per_face: of memory, once opened.
        restart_s: to open the gallery.
        enrolments_per_s: one at a time, each on the disk, while another thread searches.
        deletions_per_s: likewise, committed; the bytes are erased in the background.
    """

    size: int
    index: str
    recall_at_1: float
    p50_ms: float
    p99_ms: float
    ratio_to_bare_faiss: float
    batched_ms_per_probe: float
    batched_ratio: float
    bytes_per_face: float
    restart_s: float
    enrolments_per_s: float
    deletions_per_s: float
    origin: Origin | None = None


class Faults(Record):
    """What was found after processes had been killed in the middle of their work."""

    kills: int
    facts_checked: int
    facts_lost: int
    deleted_returned: int
    problems: int
    origin: Origin


class OpenSet(Record):
    """Identification among strangers; see `shared.evaluation.rows.OpenSetRow`."""

    model: str
    probe: str
    enrolled: str
    rank1: float
    fnir_at_fpir_1e2: float
    fnir_at_fpir_1e3: float
    origin: Origin


class ModelChangeRow(Record):
    """How well a gallery answers whose maps one version wrote and another embedded.

    Attributes:
        maps_of: the version that encoded the enrolled faces.
        embedded_by: the version that embedded them, and encoded and embedded the probes.
        rank1: share of probes whose own subject is the most similar one.
        tar_at_far_1e3: share of probes verified as their own subject.
    """

    maps_of: str
    embedded_by: str
    rank1: float
    tar_at_far_1e3: float


class ModelChange(Record):
    """A gallery before and after a change of model, and as if it had been enrolled anew."""

    faces: int
    faces_per_s: float
    swap_ms: float
    rows: tuple[ModelChangeRow, ...]
    origin: Origin


class GalleryReport(Record):
    """All of it; what was not measured yet is empty."""

    indexes: tuple[IndexRow, ...] = ()
    faults: Faults | None = None
    model_change: ModelChange | None = None
    open_set: tuple[OpenSet, ...] = ()


def record_indexes(folder: Path, rows: list[IndexRow], origin: Origin) -> None:
    """Put rows in the place of those of the same size and form."""
    report = _read(folder)
    new = {(row.size, row.index): row.model_copy(update={"origin": origin}) for row in rows}
    kept = {(row.size, row.index): row for row in report.indexes}
    every = tuple(row for _, row in sorted({**kept, **new}.items()))
    _write(folder, report.model_copy(update={"indexes": every}))


def record_faults(folder: Path, faults: Faults) -> None:
    """Put the outcome of a trial in the place of the one before."""
    _write(folder, _read(folder).model_copy(update={"faults": faults}))


def record_model_change(folder: Path, change: ModelChange) -> None:
    """Put a change of model in the place of the one before."""
    _write(folder, _read(folder).model_copy(update={"model_change": change}))


def record_open_set(folder: Path) -> None:
    """Put the identification rates in results.json in the place of those before."""
    results = read_results(folder / "results.json")
    origin = Origin(command=results.command, commit=results.commit, time=results.date)
    rows = tuple(
        OpenSet(
            model=results.model,
            probe=row.probe,
            enrolled=row.enrolled,
            rank1=row.rank1,
            fnir_at_fpir_1e2=row.fnir_at_fpir_1e2,
            fnir_at_fpir_1e3=row.fnir_at_fpir_1e3,
            origin=origin,
        )
        for row in results.open_set
        if row.judge == OWN
    )
    _write(folder, _read(folder).model_copy(update={"open_set": rows}))


def _read(folder: Path) -> GalleryReport:
    path = folder / "gallery.json"
    return (
        GalleryReport.model_validate_json(path.read_bytes()) if path.exists() else GalleryReport()
    )


def _write(folder: Path, report: GalleryReport) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gallery.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / "gallery.md").write_text("\n".join(_lines(report)) + "\n", encoding="utf-8")


def _lines(report: GalleryReport) -> Iterator[str]:
    yield "# The gallery, measured"
    yield "\nMade from `gallery.json`, which names the command, commit and machine of every figure."
    if report.indexes:
        yield from _index_lines(report.indexes)
    if report.faults:
        yield from _fault_lines(report.faults)
    if report.model_change:
        yield from _model_change_lines(report.model_change)
    if report.open_set:
        yield from _open_set_lines(report.open_set)


def _index_lines(rows: tuple[IndexRow, ...]) -> Iterator[str]:
    yield "\n## Indexes\n"
    yield (
        "Made-up embeddings that lie as those of LFW do, two faces a subject. A search finds the "
        "best subject, confirmed in the database; *ratio* is to the same search on bare FAISS, "
        "side by side. *Batched* is 32 searches from 16 threads against 32 probes in one call of "
        "FAISS.\n"
    )
    yield (
        "| faces | index | recall@1 | p50 ms | p99 ms | ratio | batched ms | batched ratio "
        "| B/face | restart s | enroll/s | delete/s |"
    )
    yield "|" + "---|" * 12
    for row in rows:
        yield (
            f"| {row.size:,} | {row.index} | {row.recall_at_1:.3f} | {row.p50_ms:.2f} "
            f"| {row.p99_ms:.2f} | {row.ratio_to_bare_faiss:.2f} | {row.batched_ms_per_probe:.2f} "
            f"| {row.batched_ratio:.2f} | {row.bytes_per_face:.0f} | {row.restart_s:.2f} "
            f"| {row.enrolments_per_s:.0f} | {row.deletions_per_s:.2f} |"
        )
    yield "\nMeasured, newest first:\n"
    for row in sorted(rows, key=_time, reverse=True):
        if origin := row.origin:
            yield (
                f"- {row.size:,}, {row.index}: {origin.time[:10]}, commit {origin.commit[:7]}, "
                f"{origin.machine}" + (f", load {origin.load}" if origin.load else "")
            )


def _time(row: IndexRow) -> str:
    return row.origin.time if row.origin else ""


def _fault_lines(faults: Faults) -> Iterator[str]:
    yield "\n## Kills\n"
    yield (
        f"`{faults.origin.command}`: {faults.kills} times kill -9 in the middle of enroll, delete, "
        f"import, re-embed and swap; {faults.facts_checked:,} acknowledged facts checked, "
        f"{faults.facts_lost} lost; {faults.deleted_returned} deleted returned; "
        f"{faults.problems} inconsistencies."
    )


def _model_change_lines(change: ModelChange) -> Iterator[str]:
    yield "\n## A change of model\n"
    yield (
        f"`{change.origin.command}`: people of LFW, enrolled with one photograph and asked about "
        f"with another. {change.faces:,} faces were embedded anew from their maps, "
        f"{change.faces_per_s:.0f} a second; the swap took {change.swap_ms:.0f} ms.\n"
    )
    yield "| maps of | embedded by | rank-1 | TAR at FAR 1e-3 |"
    yield "|---|---|---|---|"
    for row in change.rows:
        yield (
            f"| {row.maps_of} | {row.embedded_by} | {row.rank1:.3f} | {row.tar_at_far_1e3:.3f} |"
        )


def _open_set_lines(rows: tuple[OpenSet, ...]) -> Iterator[str]:
    yield f"\n## Identification among strangers (LFW, {rows[0].model})\n"
    yield "| probe | enrolled | rank-1 | FNIR at FPIR 1e-2 | FNIR at FPIR 1e-3 |"
    yield "|---|---|---|---|---|"
    for row in rows:
        yield (
            f"| {row.probe} | {row.enrolled} | {row.rank1:.3f} | {row.fnir_at_fpir_1e2:.3f} "
            f"| {row.fnir_at_fpir_1e3:.3f} |"
        )


if __name__ == "__main__":
    record_open_set(Path("report"))
