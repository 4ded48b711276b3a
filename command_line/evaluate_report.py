"""`compactface evaluate report` and what belongs to it: rivals, render, check."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from command_line.evaluate_options import (
    CORES,
    KEPT,
    REPORT,
    Data,
    Family,
    Kept,
    Points,
    Reference,
    Report,
    Rivals,
    RivalsAt,
    Threads,
    Unseen,
    Version,
    command_text,
    open_judges,
    use_threads,
)
from command_line.evaluation_output import open_progress
from command_line.options import SHIPPED_MODELS, Models

if TYPE_CHECKING:
    from shared.model_directory import ModelDirectory


def write_report(
    *,
    data: Data,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    version: Version = None,
    points: Points = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(help="Another family, or FAMILY/VERSION, to include; repeatable."),
    ] = None,
    threads: Threads = CORES,
    unseen: Unseen = None,
    reference: Reference = None,
    rivals_at: RivalsAt = None,
    rivals: Rivals = None,
    photos: Annotated[
        Path, typer.Option(help="Publishable photographs for the contact sheet.")
    ] = Path("tests/data"),
    cache: Kept = KEPT,
    report: Report = REPORT,
) -> None:
    """Measure everything and write the report. Takes hours at first; resumable."""
    from shared.evaluation.cache import Cache
    from shared.evaluation.report import ReportSettings, measure
    from shared.model_directory import ModelDirectory

    _check_names(rivals)
    use_threads(threads)
    settings = ReportSettings(
        data=data,
        photos=photos,
        report=report,
        points=points,
        rivals=rivals,
        panel=open_judges(data, unseen, reference, threads),
        cache=Cache(cache),
        threads=threads,
        command=command_text(),
        progress=open_progress,
    )
    model = ModelDirectory.load(models, family, version)
    others = [_named(models, name) for name in beside or []]
    measure(settings, model, beside=others, rivals_at=rivals_at)
    render(report=report)


def _named(models: Path, name: str) -> "ModelDirectory":
    from shared.model_directory import ModelDirectory

    family, _, version = name.partition("/")
    return ModelDirectory.load(models, family, version or None)


def rivals(
    *,
    data: Data,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    sizes: Annotated[
        list[int],
        typer.Option(
            "--bytes", min=1, help="Size per face, e.g. 347, that of `standard`; repeatable."
        ),
    ],
    names: Rivals = None,
    threads: Threads = CORES,
    unseen: Unseen = None,
    reference: Reference = None,
    cache: Kept = KEPT,
    report: Report = REPORT,
) -> None:
    """Measure conventional codecs for networks that are not ours; `report` then has the results."""
    from shared.evaluation.cache import Cache
    from shared.evaluation.rival_measurements import RivalSettings, measure_rivals
    from shared.model_directory import ModelDirectory

    _check_names(names)
    use_threads(threads)
    model = ModelDirectory.load(models, family)
    settings = RivalSettings(
        data=data,
        report=report,
        rivals=names,
        panel=open_judges(data, unseen, reference, threads),
        cache=Cache(cache),
        threads=threads,
        command=command_text(),
        progress=open_progress,
    )
    for row in measure_rivals(settings, model, sizes=sizes):
        typer.echo(
            f"{row.codec}, {row.bytes_mean:.1f} bytes, {row.measure}, {row.judge}: "
            f"{100 * row.accuracy:.2f} %"
        )


def render(*, report: Report = REPORT) -> None:
    """Render the report's text and plots from results.json."""
    from shared.evaluation.render import render_report

    render_report(report)
    typer.echo(f"{report / 'report.md'} written")


def check(
    *,
    data: Data,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    threads: Threads = CORES,
    report: Report = REPORT,
) -> None:
    """Measure LFW's first fold again; exits with 1 if it contradicts results.json."""
    from shared.evaluation.rows import read_results
    from shared.evaluation.slices import disagreements, measure_slices
    from shared.model_directory import ModelDirectory

    committed = read_results(report / "results.json")
    model = ModelDirectory.load(models, family)
    use_threads(threads)
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


def _check_names(rivals: list[str] | None) -> None:
    from shared.evaluation.conventional import CODECS

    names = [codec.name for codec in CODECS]
    if not {*(rivals or [])} <= {*names}:
        raise typer.BadParameter(f"must be of {', '.join(names)}", param_hint="--rival")
