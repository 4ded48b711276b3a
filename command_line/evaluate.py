"""`compactface evaluate`: measure a model's verification accuracy and map sizes."""

from pathlib import Path
from typing import Annotated

import typer

from command_line.evaluate_options import (
    CORES,
    KEPT,
    REPORT,
    Data,
    Family,
    Kept,
    MinQuality,
    Point,
    Points,
    Reference,
    Report,
    Threads,
    Unseen,
    Version,
    command_text,
    open_judges,
    use_threads,
)
from command_line.evaluate_report import check, render, rivals, write_report
from command_line.evaluation_output import open_progress, show_kodak, show_result
from command_line.options import SHIPPED_MODELS, Models
from command_line.output import open_console, show_table

app = typer.Typer(no_args_is_help=True, help="Measure a model's accuracy and map sizes.")


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
    threads: Threads = CORES,
    unseen: Unseen = None,
    reference: Reference = None,
    report: Report = REPORT,
) -> None:
    """Verify LFW's 6,000 pairs in ten folds. For testing only: the run is recorded."""
    from shared.evaluation.lfw import evaluate_lfw
    from shared.evaluation.pipeline import Pipeline
    from shared.evaluation.runs import append_run
    from shared.model_directory import ModelDirectory

    model = ModelDirectory.load(models, family, version)
    use_threads(threads)
    panel = open_judges(data, unseen, reference, threads)
    pipeline = Pipeline(model, points, panel=panel, threads=threads)
    with open_progress("LFW") as progress:
        result, _ = evaluate_lfw(model, pipeline, data, folds=folds, progress=progress)
    append_run(report / "lfw_runs.jsonl", result, command=command_text())
    show_result(result)


@app.command("open-set")
def open_set(
    *,
    data: Data,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    version: Version = None,
    points: Points = None,
    threads: Threads = CORES,
    unseen: Unseen = None,
    reference: Reference = None,
    cache: Kept = KEPT,
    report: Report = REPORT,
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
    use_threads(threads)
    panel = open_judges(data, unseen, reference, threads)
    pipeline = Pipeline(model, points, panel=panel, threads=threads, cache=Cache(cache))
    with open_progress("LFW") as progress:
        result, lfw = evaluate_lfw(model, pipeline, data, progress=progress)
    append_run(report / "lfw_runs.jsonl", result, command=command_text())
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
    unseen: Annotated[
        Path | None, typer.Option(help="ONNX file of a judge not used in training; default: none.")
    ] = None,
    reference: Reference = None,
    turned: Annotated[
        float, typer.Option(min=0, max=90, help="Smallest difference in yaw of a pair, degrees.")
    ] = 0,
    threads: Threads = CORES,
) -> None:
    """Verify 6,000 pairs of people held out of training. Choices are based on this."""
    from shared.evaluation.panel import open_panel
    from shared.evaluation.validation import evaluate_validation
    from shared.model_directory import ModelDirectory
    from shared.training.faces import load_faces

    model = ModelDirectory.load(models, family, version)
    use_threads(threads)
    panel = open_panel(reference=reference, unseen=unseen, threads=threads)
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
    threads: Threads = CORES,
    report: Report = REPORT,
) -> None:
    """Encode general photographs and compare with other codecs at equal size."""
    from shared.evaluation.kodak import evaluate_kodak
    from shared.evaluation.sheets import kodak_sheet
    from shared.model_directory import ModelDirectory

    model = ModelDirectory.load(models, family, version)
    use_threads(threads)
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
    threads: Threads = CORES,
    cache: Kept = KEPT,
    report: Report = REPORT,
) -> None:
    """FMR asked against FMR measured under many conditions. For testing only."""
    from shared.evaluation.cache import Cache
    from shared.evaluation.coded import Coder
    from shared.evaluation.lfw_files import open_lfw
    from shared.evaluation.trust import evaluate_trust
    from shared.evaluation.trust_report import read_trust, write_trust
    from shared.model_directory import ModelDirectory

    model = ModelDirectory.load(models, family, version)
    use_threads(threads)
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
            command=command_text(),
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
    threads: Threads = CORES,
    kept: Annotated[Path, typer.Option(help="Cache of slow results.")] = KEPT,
    report: Report = REPORT,
) -> None:
    """Error rates by group of held-out people: what names begin with, up to the first "_"."""
    from shared.evaluation.cache import Cache
    from shared.evaluation.coded import Coder
    from shared.evaluation.groups import evaluate_groups
    from shared.evaluation.trust_report import write_groups
    from shared.model_directory import ModelDirectory
    from shared.training.faces import load_faces

    model = ModelDirectory.load(models, family, version)
    use_threads(threads)
    coder = Coder(model, point, threads=threads, cache=Cache(kept))
    with open_progress("groups") as progress:
        found = evaluate_groups(
            model,
            coder,
            load_faces(cache),
            min_quality=min_quality,
            command=command_text(),
            progress=progress,
        )
    write_groups(found, report)
    typer.echo(f"{report / 'groups.md'} written")


app.command("report")(write_report)
app.command()(rivals)
app.command()(render)
app.command()(check)
