"""`compactface evaluate`: measure a model's verification accuracy and map sizes."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from command_line.evaluation_output import open_progress, show_kodak, show_result
from command_line.options import SHIPPED_MODELS, Models
from command_line.output import open_console, show_table

if TYPE_CHECKING:
    from shared.evaluation.panel import Panel

app = typer.Typer(no_args_is_help=True, help="Measure a model's accuracy and map sizes.")

Data = Annotated[
    Path,
    typer.Option(envvar="COMPACTFACE_DATA", help="Folder of lfw112/lfw.zip and lfw112/pairs.txt."),
]
Family = Annotated[str, typer.Option(help="Model family.")]
Version = Annotated[
    str | None, typer.Option("--model-version", help="Model version; default: the current one.")
]
Points = Annotated[
    list[str] | None, typer.Option("--point", help="Operating point; repeatable; default: all.")
]
Point = Annotated[str | None, typer.Option(help="Operating point; default: the model's.")]
MinQuality = Annotated[
    float, typer.Option(min=0, max=1, help="Below: LOW_QUALITY, as the recognizer is set.")
]
Threads = Annotated[int, typer.Option(min=1, help="Number of cores.")]
Report = Annotated[Path, typer.Option(help="Folder of the report.")]
Unseen = Annotated[
    Path | None,
    typer.Option(
        help="ONNX file of a judge not used in training; "
        "default: teachers/fr_feature_512.onnx below the data, if present.",
    ),
]
Reference = Annotated[
    Path | None,
    typer.Option(
        "--reference-extractor",
        help="Weights of the extractor before tuning on reconstructions, which measures A.",
    ),
]
Kept = Annotated[
    Path,
    typer.Option("--cache", help="Cache of slow results; delete it after code changes."),
]

_CORES = os.cpu_count() or 1
_REPORT = Path("report")
_KEPT = Path("build/evaluation")


@app.command()
def lfw(
    *,
    data: Data,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    version: Version = None,
    points: Points = None,
    folds: Annotated[
        int, typer.Option(min=2, max=10, help="Number of folds to use, from the first.")
    ] = 10,
    threads: Threads = _CORES,
    unseen: Unseen = None,
    reference: Reference = None,
    report: Report = _REPORT,
) -> None:
    """Verify LFW's 6,000 pairs in ten folds. For testing only: the run is recorded."""
    from shared.evaluation.lfw import evaluate_lfw
    from shared.evaluation.pipeline import Pipeline
    from shared.evaluation.runs import append_run
    from shared.model_directory import ModelDirectory

    model = ModelDirectory.load(models, family, version)
    _use_threads(threads)
    panel = _panel(data, unseen, reference, threads)
    pipeline = Pipeline(model, points, panel=panel, threads=threads)
    with open_progress("LFW") as progress:
        result, _ = evaluate_lfw(model, pipeline, data, folds=folds, progress=progress)
    append_run(report / "lfw_runs.jsonl", result, command=_command())
    show_result(result)


@app.command("open-set")
def open_set(
    *,
    data: Data,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    version: Version = None,
    points: Points = None,
    threads: Threads = _CORES,
    unseen: Unseen = None,
    reference: Reference = None,
    cache: Kept = _KEPT,
    report: Report = _REPORT,
) -> None:
    """Identify LFW's subjects among strangers. For testing only: the run is recorded."""
    from shared.evaluation.cache import Cache
    from shared.evaluation.lfw import evaluate_lfw
    from shared.evaluation.open_set import open_set_rows
    from shared.evaluation.pipeline import Pipeline
    from shared.evaluation.runs import append_run
    from shared.evaluation.tables import OPEN_SET_COLUMNS, open_set_cells, open_set_sizes
    from shared.model_directory import ModelDirectory

    model = ModelDirectory.load(models, family, version)
    _use_threads(threads)
    panel = _panel(data, unseen, reference, threads)
    pipeline = Pipeline(model, points, panel=panel, threads=threads, cache=Cache(cache))
    with open_progress("LFW") as progress:
        result, lfw = evaluate_lfw(model, pipeline, data, progress=progress)
    append_run(report / "lfw_runs.jsonl", result, command=_command())
    rows = open_set_rows(model, lfw)
    show_table(OPEN_SET_COLUMNS, open_set_cells(rows), title=f"LFW, open set: {result.model}")
    open_console().print(open_set_sizes(rows[0]), soft_wrap=True)


@app.command()
def validation(
    *,
    cache: Annotated[
        Path,
        typer.Option(exists=True, file_okay=False, help="Cache of training faces."),
    ],
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    version: Version = None,
    points: Points = None,
    reference: Reference = None,
    turned: Annotated[
        float, typer.Option(min=0, max=90, help="Smallest difference in yaw of a pair, degrees.")
    ] = 0,
    threads: Threads = _CORES,
) -> None:
    """Verify 6,000 pairs of people held out of training. Choices are based on this."""
    from shared.evaluation.panel import open_panel
    from shared.evaluation.validation import evaluate_validation
    from shared.model_directory import ModelDirectory
    from shared.training.faces import load_faces

    model = ModelDirectory.load(models, family, version)
    _use_threads(threads)
    panel = open_panel(reference=reference, unseen=None, threads=threads)
    with open_progress("validation") as progress:
        result = evaluate_validation(
            model,
            load_faces(cache),
            points=points,
            panel=panel,
            turned=turned,
            threads=threads,
            progress=progress,
        )
    show_result(result)


@app.command()
def kodak(
    *,
    data: Annotated[
        Path, typer.Option(envvar="COMPACTFACE_DATA", help="Folder of kodak/ with Kodak's images.")
    ],
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    version: Version = None,
    threads: Threads = _CORES,
    report: Report = _REPORT,
) -> None:
    """Encode general photographs and compare with other codecs at equal size."""
    from shared.evaluation.kodak import evaluate_kodak
    from shared.evaluation.sheets import kodak_sheet
    from shared.model_directory import ModelDirectory

    model = ModelDirectory.load(models, family, version)
    _use_threads(threads)
    with open_progress("Kodak") as progress:
        rows, shown = evaluate_kodak(model, data / "kodak", progress=progress)
    report.mkdir(parents=True, exist_ok=True)
    kodak_sheet(shown).save(report / "kodak.png")
    show_kodak(rows)


@app.command()
def trust(
    *,
    data: Data,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    version: Version = None,
    point: Point = None,
    min_quality: MinQuality = 0.15,
    people: Annotated[
        int, typer.Option(min=2, help="People of LFW compared in unspoilt photographs, at most.")
    ] = 1680,
    spoilt_people: Annotated[
        int, typer.Option(min=2, help="People compared in each other condition, at most.")
    ] = 250,
    before: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="An earlier trust.json to show beside."),
    ] = None,
    threads: Threads = _CORES,
    cache: Kept = _KEPT,
    report: Report = _REPORT,
) -> None:
    """FMR asked against FMR measured under many conditions. For testing only."""
    from shared.evaluation.cache import Cache
    from shared.evaluation.coded import Coder
    from shared.evaluation.lfw_files import open_lfw
    from shared.evaluation.trust import evaluate_trust
    from shared.evaluation.trust_report import read_trust, write_trust
    from shared.model_directory import ModelDirectory

    model = ModelDirectory.load(models, family, version)
    _use_threads(threads)
    earlier = read_trust(before) if before else None
    coder = Coder(model, point, threads=threads, cache=Cache(cache))
    with open_lfw(data) as files, open_progress("trust") as progress:
        found = evaluate_trust(
            model,
            coder,
            files,
            data,
            min_quality=min_quality,
            people=people,
            spoilt_people=min(people, spoilt_people),
            command=_command(),
            progress=progress,
        )
    write_trust(found, report, before=earlier)
    typer.echo(f"{report / 'trust.md'} written")


@app.command()
def groups(
    *,
    cache: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Cache of training faces.")
    ],
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    version: Version = None,
    point: Point = None,
    min_quality: MinQuality = 0.15,
    threads: Threads = _CORES,
    kept: Annotated[Path, typer.Option(help="Cache of slow results.")] = _KEPT,
    report: Report = _REPORT,
) -> None:
    """Error rates by group of held-out people: what names begin with, up to the first "_"."""
    from shared.evaluation.cache import Cache
    from shared.evaluation.coded import Coder
    from shared.evaluation.groups import evaluate_groups
    from shared.evaluation.trust_report import write_groups
    from shared.model_directory import ModelDirectory
    from shared.training.faces import load_faces

    model = ModelDirectory.load(models, family, version)
    _use_threads(threads)
    coder = Coder(model, point, threads=threads, cache=Cache(kept))
    with open_progress("groups") as progress:
        found = evaluate_groups(
            model,
            coder,
            load_faces(cache),
            min_quality=min_quality,
            command=_command(),
            progress=progress,
        )
    write_groups(found, report)
    typer.echo(f"{report / 'groups.md'} written")


@app.command("report")
def write_report(
    *,
    data: Data,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    version: Version = None,
    points: Points = None,
    beside: Annotated[
        list[str] | None, typer.Option(help="Another family to include; repeatable.")
    ] = None,
    threads: Threads = _CORES,
    unseen: Unseen = None,
    reference: Reference = None,
    rivals_at: Annotated[
        list[str] | None,
        typer.Option(
            help="Operating point at whose size to measure conventional codecs; default: all."
        ),
    ] = None,
    rivals: Annotated[
        list[str] | None,
        typer.Option("--rival", help="Conventional codec, as the report names it; default: all."),
    ] = None,
    photos: Annotated[
        Path, typer.Option(help="Publishable photographs for the contact sheet.")
    ] = Path("tests/data"),
    cache: Kept = _KEPT,
    report: Report = _REPORT,
) -> None:
    """Measure everything and write the report. Takes hours at first; resumable."""
    from shared.evaluation.cache import Cache
    from shared.evaluation.conventional import CODECS
    from shared.evaluation.report import ReportSettings, measure
    from shared.model_directory import ModelDirectory

    names = [codec.name for codec in CODECS]
    if not {*(rivals or [])} <= {*names}:
        raise typer.BadParameter(f"must be of {', '.join(names)}", param_hint="--rival")
    _use_threads(threads)
    settings = ReportSettings(
        data=data,
        photos=photos,
        report=report,
        points=points,
        rivals=rivals,
        panel=_panel(data, unseen, reference, threads),
        cache=Cache(cache),
        threads=threads,
        command=_command(),
        progress=open_progress,
    )
    model = ModelDirectory.load(models, family, version)
    others = [ModelDirectory.load(models, name) for name in beside or []]
    measure(settings, model, beside=others, rivals_at=rivals_at)
    render(report=report)


@app.command()
def render(*, report: Report = _REPORT) -> None:
    """Render the report's text and plots from results.json."""
    from shared.evaluation.render import render_report

    render_report(report)
    typer.echo(f"{report / 'report.md'} written")


@app.command()
def check(
    *,
    data: Data,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    threads: Threads = _CORES,
    report: Report = _REPORT,
) -> None:
    """Measure LFW's first fold again; exits with 1 if it contradicts results.json."""
    from shared.evaluation.rows import read_results
    from shared.evaluation.slices import disagreements, measure_slices
    from shared.model_directory import ModelDirectory

    committed = read_results(report / "results.json")
    model = ModelDirectory.load(models, family)
    _use_threads(threads)
    with open_progress("LFW, first fold") as progress:
        measured = measure_slices(model, committed, data, threads=threads, progress=progress)
    complaints = [
        f"{said.form}: {complaint}"
        for said, found in zip(committed.slices, measured, strict=True)
        for complaint in disagreements(said, found)
    ]
    for complaint in complaints:
        typer.echo(complaint, err=True)
    if complaints:
        raise typer.Exit(1)
    for found in measured:
        typer.echo(f"{found.form}: {found.pairs} pairs, {100 * found.accuracy:.2f} %, as reported")


def _panel(data: Path, unseen: Path | None, reference: Path | None, threads: int) -> "Panel":
    from shared.evaluation.panel import open_panel

    usual = data / "teachers/fr_feature_512.onnx"
    if unseen is None and usual.is_file():
        unseen = usual
    return open_panel(reference=reference, unseen=unseen, threads=threads)


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _command() -> str:
    return shlex.join(["compactface", *sys.argv[1:]])
