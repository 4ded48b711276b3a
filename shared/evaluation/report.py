"""Measure everything in the report: results.json and the contact sheets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from shared.evaluation.calibration_check import check_calibration
from shared.evaluation.judges import ExtractorJudge
from shared.evaluation.kodak import evaluate_kodak
from shared.evaluation.lfw import Lfw, evaluate_lfw
from shared.evaluation.lfw_files import open_lfw
from shared.evaluation.measurements import (
    Measurement,
    Origin,
    differences,
    model_measurements,
    template_measurements,
    unquantized_measurement,
)
from shared.evaluation.names import OWN
from shared.evaluation.open_set import open_set_rows
from shared.evaluation.panel import NO_JUDGES, Panel
from shared.evaluation.pipeline import Pipeline
from shared.evaluation.result import Result
from shared.evaluation.rival_measurements import RivalSettings, measure_at_size
from shared.evaluation.rows import JudgeRow, MatrixRow, OpenSetRow, Results, write_results
from shared.evaluation.runs import append_run, software_commit
from shared.evaluation.sample_faces import find_faces, render_faces
from shared.evaluation.sheets import faces_sheet, kodak_sheet
from shared.evaluation.slices import first_slices
from shared.evaluation.unquantized import UnquantizedPipeline
from shared.evaluation.weights import model_name
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory


@dataclass(frozen=True, slots=True)
class ReportSettings(RivalSettings):
    """Settings of a report.

    Attributes:
        photos: folder of publishable photographs.
        points: operating points of the model; None: all.
    """

    photos: Path
    points: Sequence[str] | None


def measure(
    settings: ReportSettings,
    model: ModelDirectory,
    *,
    beside: Sequence[ModelDirectory] = (),
    rivals_at: Sequence[str] | None = None,
) -> Results:
    """Measure a model and write results.json, rivals.jsonl, faces.png and kodak.png.

    Args:
        settings: the settings.
        model: model to measure; continuous integration checks the slices of its weights.
        beside: other models, of which only the rows of their own extractor are needed.
        rivals_at: operating points at whose sizes to measure conventional codecs; None: all. Of
            the others, what was measured before is shown.

    Raises:
        FailedPrecondition: EVALUATION_DATA_MISSING.
        InvalidInput: a file is malformed.
    """
    samples = render_faces(model, find_faces(settings.photos), settings.points)
    with settings.progress("Kodak") as progress:
        kodak, shown = evaluate_kodak(
            model,
            settings.data / "kodak",
            points=settings.points,
            cache=settings.cache,
            progress=progress,
        )
    origin = Origin(settings.command, software_commit())
    result, lfw, measurements = _measure_model(settings, model, origin)
    open_set = open_set_rows(model, lfw)
    for other in beside:
        _, seen, more = _measure_model(
            replace(settings, points=None, panel=NO_JUDGES), other, origin
        )
        measurements += more
        open_set += _alike_on_both_sides(open_set_rows(other, seen), model_name(other))
    panel = _with_extractor(settings.panel, model)
    for point in result.points:
        target = round(result.points[point].bytes_mean)
        asked = rivals_at is None or point in rivals_at
        measurements += measure_at_size(
            settings if asked else replace(settings, rivals=()),
            model,
            lfw.names,
            lfw.pairs,
            origin,
            panel=panel,
            point=point,
            target_bytes=target,
        )
    people = np.stack([lfw.people[lfw.pairs.first], lfw.people[lfw.pairs.second]], axis=1)
    results = Results(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=origin.command,
        commit=origin.commit,
        model=model_name(model),
        default_point=model.manifest.default_point,
        judges=tuple(
            JudgeRow(judge=role, name=judge.name, sha256=settings.panel.digests[role])
            for role, judge in settings.panel.judges.items()
        ),
        rows=tuple(measurement.row for measurement in measurements),
        matrix=tuple(_matrix(result)),
        differences=tuple(differences(measurements, people, model=model_name(model))),
        calibration=tuple(check_calibration(model, lfw.embedded.own, lfw.people)),
        open_set=tuple(open_set),
        kodak=tuple(kodak),
        slices=tuple(first_slices(model, lfw)),
    )
    write_results(settings.report / "results.json", results)
    faces_sheet(samples).save(settings.report / "faces.png")
    kodak_sheet(shown).save(settings.report / "kodak.png")
    return results


def _alike_on_both_sides(rows: Sequence[OpenSetRow], model: str) -> list[OpenSetRow]:
    """Another model's own extractor, named by its model, with one form on both sides."""
    alike = (row for row in rows if row.probe == row.enrolled)
    return [row.model_copy(update={"judge": model}) for row in alike]


def _with_extractor(panel: Panel, model: ModelDirectory) -> Panel:
    decoder = MapDecoder(model, precision="auto")
    own = f"{model.manifest.crops_space} {decoder.arithmetic}"
    return panel.joined_by(OWN, ExtractorJudge(decoder), own)


def _measure_model(
    settings: ReportSettings, model: ModelDirectory, origin: Origin
) -> tuple[Result, Lfw, list[Measurement]]:
    name, threads, cache = model_name(model), settings.threads, settings.cache
    pipeline = Pipeline(model, settings.points, panel=settings.panel, threads=threads, cache=cache)
    with settings.progress(f"LFW, {name}") as progress:
        result, lfw = evaluate_lfw(model, pipeline, settings.data, progress=progress)
    append_run(settings.report / "lfw_runs.jsonl", result, command=settings.command)
    default = model.manifest.default_point
    unquantized = UnquantizedPipeline(model, default, threads=threads, cache=cache)
    with open_lfw(settings.data) as files, settings.progress(f"{name}, unrounded") as progress:
        faces = files.batches(lfw.names)
        vectors = unquantized.embed(faces, total=len(lfw.names), progress=progress)
    unrounded = unquantized_measurement(model, default, vectors, lfw, origin)
    return (
        result,
        lfw,
        [
            *model_measurements(model, lfw, origin),
            *template_measurements(model, lfw, origin),
            unrounded,
        ],
    )


def _matrix(result: Result) -> Iterator[MatrixRow]:
    for cell in result.cells:
        yield MatrixRow(
            judge=cell.judge,
            probe=cell.probe,
            enrolled=cell.enrolled,
            accuracy=cell.score.accuracy,
            std=cell.score.std,
            tar_at_far_1e3=cell.score.tar_at_far_1e3,
        )
