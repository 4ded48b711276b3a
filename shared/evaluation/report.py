"""Measure everything in the report: results.json and the contact sheets."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np

from shared.evaluation.baselines import BLOCK, Baseline, measure_baseline
from shared.evaluation.cache import Cache
from shared.evaluation.calibration_check import check_calibration
from shared.evaluation.conventional import CODECS, Measure
from shared.evaluation.judges import ExtractorJudge
from shared.evaluation.kodak import evaluate_kodak
from shared.evaluation.lfw import Lfw, evaluate_lfw, images_of, rows_of
from shared.evaluation.lfw_files import open_lfw
from shared.evaluation.measurements import (
    Measurement,
    Origin,
    baseline_measurements,
    differences,
    model_measurements,
    template_measurements,
    unquantized_measurement,
)
from shared.evaluation.names import OWN
from shared.evaluation.open_set import open_set_rows
from shared.evaluation.panel import NO_JUDGES, Panel
from shared.evaluation.pipeline import Pipeline, Progress
from shared.evaluation.protocol import Pairs
from shared.evaluation.result import Result
from shared.evaluation.rivals import KeptRivals
from shared.evaluation.rows import JudgeRow, MatrixRow, Results, Row, write_results
from shared.evaluation.runs import append_run, software_commit
from shared.evaluation.sample_faces import find_faces, render_faces
from shared.evaluation.sheets import faces_sheet, kodak_sheet
from shared.evaluation.slices import first_slices
from shared.evaluation.unquantized import UnquantizedPipeline
from shared.evaluation.weights import model_name
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """Settings of a report.

    Attributes:
        data: folder of `lfw112/` and `kodak/`.
        photos: folder of publishable photographs.
        report: folder to write to.
        points: operating points of the model; None: all.
        rivals: names of conventional codecs to measure if their results are not kept; None: all.
        panel: judges besides the own extractor.
        cache: cache of slow results.
        threads: number of cores to use.
        command: the command line.
        progress: shows the progress of a stage, given its title.
    """

    data: Path
    photos: Path
    report: Path
    points: Sequence[str] | None
    rivals: Sequence[str] | None
    panel: Panel
    cache: Cache
    threads: int
    command: str
    progress: Callable[[str], AbstractContextManager[Progress]]


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
        beside: other models, of which only the rows are needed.
        rivals_at: operating points at whose sizes to measure conventional codecs; None: those of
            the settings.

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
    for other in beside:
        _, _, more = _measure_model(replace(settings, points=None, panel=NO_JUDGES), other, origin)
        measurements += more
    panel = _with_extractor(settings.panel, model)
    for point in rivals_at or result.points:
        target = round(result.points[point].bytes_mean)
        measurements += _measure_baselines(
            settings,
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
        open_set=tuple(open_set_rows(model, lfw)),
        kodak=tuple(kodak),
        slices=tuple(first_slices(model, lfw)),
    )
    write_results(settings.report / "results.json", results)
    faces_sheet(samples).save(settings.report / "faces.png")
    kodak_sheet(shown).save(settings.report / "kodak.png")
    return results


def measure_rivals(
    settings: ReportSettings, model: ModelDirectory, *, sizes: Sequence[int]
) -> Iterator[Row]:
    """Measure conventional codecs for the judges that do not depend on a model of ours.

    The results are kept, and `measure` finds them. They take up to hours for a codec.

    Args:
        settings: the settings; only those of the judges and codecs count.
        model: rows name its default point, until a report names the point of a size.
        sizes: bytes per face.

    Raises:
        FailedPrecondition: EVALUATION_DATA_MISSING.
        InvalidInput: a file is malformed.
    """
    with open_lfw(settings.data) as files:
        chosen = [pair for fold in files.folds for pair in fold]
        names, folds = images_of(chosen), len(files.folds)
    pairs, origin = rows_of(chosen, names, folds=folds), Origin(settings.command, software_commit())
    for size in sizes:
        for measurement in _measure_baselines(
            settings,
            model,
            names,
            pairs,
            origin,
            panel=settings.panel,
            point=model.manifest.default_point,
            target_bytes=size,
        ):
            yield measurement.row


def _with_extractor(panel: Panel, model: ModelDirectory) -> Panel:
    decoder = MapDecoder(model, precision="auto")
    own = f"{decoder.embedding_space} {decoder.arithmetic}"
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


def _measure_baselines(
    settings: ReportSettings,
    model: ModelDirectory,
    names: list[str],
    pairs: Pairs,
    origin: Origin,
    *,
    panel: Panel,
    point: str,
    target_bytes: int,
) -> Iterator[Measurement]:
    """Measure conventional codecs at one size, on the photographs in pairs, for a panel.

    What was measured before is taken from `rivals.jsonl`, also for codecs that are not asked for.
    """
    rows = np.union1d(pairs.first, pairs.second)
    names = [names[row] for row in rows]
    pairs = replace(
        pairs,
        first=np.searchsorted(rows, pairs.first),
        second=np.searchsorted(rows, pairs.second),
    )
    kept = KeptRivals(settings.report / "rivals.jsonl", names, pairs)
    for codec, measured in product(CODECS, get_args(Measure)):
        baseline = Baseline(codec, target_bytes, measured)
        found = {role: kept.find(baseline, judge) for role, judge in panel.digests.items()}
        missing = panel.only([role for role, measurement in found.items() if not measurement])
        wanted = settings.rivals is None or codec.name in settings.rivals
        if wanted and missing.judges:
            title = f"{codec.name}, {target_bytes} bytes of {measured}"
            with open_lfw(settings.data) as files, settings.progress(title) as progress:
                judged = measure_baseline(
                    baseline,
                    files.batches(names, size=BLOCK),
                    missing,
                    total=len(names),
                    workers=settings.threads,
                    progress=progress,
                    cache=settings.cache,
                )
            for new in baseline_measurements(
                baseline, judged, pairs, origin, model=model, point=point
            ):
                kept.add(baseline, panel.digests[new.row.judge], new)
                found[new.row.judge] = new
        for measurement in filter(None, found.values()):
            yield measurement.beside(model, point)


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
