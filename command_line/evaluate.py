"""`compactface evaluate`: how well a model verifies faces, and in how many bytes."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from shared.evaluation import pipeline
    from shared.evaluation.result import Result

app = typer.Typer(no_args_is_help=True, help="Measure a model: verification accuracy and bytes.")

Models = Annotated[Path, typer.Option(help="Folder of model families.")]
Family = Annotated[str, typer.Option(help="Model family.")]
Version = Annotated[
    str | None, typer.Option("--model-version", help="Its version; default: the current one.")
]
Point = Annotated[str | None, typer.Option(help="Operating point; default: the model's own.")]
Threads = Annotated[int, typer.Option(min=1, help="Cores to use.")]

_CORES = os.cpu_count() or 1


@app.command()
def lfw(
    *,
    data: Annotated[
        Path,
        typer.Option(envvar="COMPACTFACE_DATA", help="Holds lfw112/lfw.zip and lfw112/pairs.txt."),
    ],
    models: Models = Path("deploy/models"),
    family: Family = "default",
    version: Version = None,
    point: Point = None,
    folds: Annotated[
        int, typer.Option(min=2, max=10, help="Take only the first folds, and their images.")
    ] = 10,
    threads: Threads = _CORES,
    report: Annotated[Path, typer.Option(help="Each run is added to lfw_runs.jsonl here.")] = Path(
        "report"
    ),
) -> None:
    """Verify LFW's 6,000 pairs by its ten-fold protocol. For testing only."""
    from shared.evaluation.lfw import evaluate_lfw
    from shared.evaluation.runs import append_run
    from shared.model_directory import ModelDirectory

    model = ModelDirectory.load(models, family, version)
    _use_threads(threads)
    with _progress("LFW") as progress:
        result = evaluate_lfw(model, point, data, folds=folds, threads=threads, progress=progress)
    runs = report / "lfw_runs.jsonl"
    append_run(runs, result, command=shlex.join(["compactface", *sys.argv[1:]]))
    _show(result)
    Console().print(f"added to {runs}")


@app.command()
def validation(
    *,
    cache: Annotated[
        Path,
        typer.Option(
            exists=True, file_okay=False, help="Cache of training faces, as training reads it."
        ),
    ],
    models: Models = Path("deploy/models"),
    family: Family = "default",
    version: Version = None,
    point: Point = None,
    threads: Threads = _CORES,
) -> None:
    """Verify 6,000 pairs of people held out of training. Choices are made on this."""
    from shared.evaluation.validation import evaluate_validation
    from shared.model_directory import ModelDirectory
    from shared.training.faces import load_faces

    model = ModelDirectory.load(models, family, version)
    _use_threads(threads)
    with _progress("validation") as progress:
        result = evaluate_validation(
            model, point, load_faces(cache), threads=threads, progress=progress
        )
    _show(result)


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


@contextmanager
def _progress(title: str) -> "Iterator[pipeline.Progress]":
    columns = TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _show(result: "Result") -> None:
    table = Table(
        "probe",
        "enrolled",
        "accuracy, %",
        "TAR at FAR 1e-3, %",
        title=f"{result.dataset}: {result.model} at {result.operating_point}",
        caption=f"{result.pairs:,} pairs in {result.folds} folds",
    )
    for probe, enrolled, score in (
        ("uncompressed", "uncompressed", result.uncompressed),
        ("compressed", "compressed", result.compressed),
        ("compressed", "uncompressed", result.probe_compressed),
    ):
        accuracy = f"{100 * score.accuracy:.2f} ± {100 * score.std:.2f}"
        table.add_row(probe, enrolled, accuracy, f"{100 * score.tar_at_far_1e3:.2f}")
    console = Console()
    console.print(table)
    console.print(
        f"{result.bytes_mean:.1f} bytes a face in the mean, {result.bytes_max} at most, "
        f"over {result.images:,} images; {result.seconds:.0f} s"
    )
    digest = f"codec {result.codec_id}, weights sha256 {result.weights_sha256}"
    console.print(digest, soft_wrap=True)
