"""Everything that the report says, measured: results.json and the sheets of pictures."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import numpy as np

from shared.evaluation.cache import Cache
from shared.evaluation.calibration_check import check_calibration
from shared.evaluation.conventional import CODECS, Measure
from shared.evaluation.judges import ExtractorJudge
from shared.evaluation.kodak import evaluate_kodak
from shared.evaluation.lfw import Lfw, evaluate_lfw
from shared.evaluation.lfw_files import open_lfw
from shared.evaluation.names import OWN
from shared.evaluation.open_set import open_set_rows
from shared.evaluation.panel import NOBODY, Panel
from shared.evaluation.pipeline import Pipeline, Progress
from shared.evaluation.result import Result
from shared.evaluation.rivals import BLOCK, Rival, judge_rival
from shared.evaluation.rows import JudgeRow, MatrixRow, Results, write_results
from shared.evaluation.runs import append_run, software_commit
from shared.evaluation.sheets import faces_sheet, kodak_sheet
from shared.evaluation.slices import first_slices
from shared.evaluation.specimens import find_faces, render_faces
from shared.evaluation.trials import (
    Origin,
    Trial,
    differences,
    model_trials,
    rival_trials,
    template_trials,
    unquantized_trial,
)
from shared.evaluation.unquantized import UnquantizedPipeline
from shared.evaluation.weights import model_name
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a report is made with.

    Attributes:
        data: folder of `lfw112/` and `kodak/`.
        photos: folder of photographs that may be published.
        report: folder to write to.
        panel: judges besides the own extractor.
        cache: keeps what took long.
        threads: cores to use.
        command: what was typed.
        progress: shows how far the stage of that title is.
    """

    data: Path
    photos: Path
    report: Path
    panel: Panel
    cache: Cache
    threads: int
    command: str
    progress: Callable[[str], AbstractContextManager[Progress]]


def measure(
    workshop: Workshop,
    model: ModelDirectory,
    *,
    beside: Sequence[ModelDirectory] = (),
    rivals_at: Sequence[str] | None = None,
) -> Results:
    """Measure a model and write results.json, faces.png and kodak.png.

    Args:
        workshop: what to measure with.
        model: what to measure; its weights are what continuous integration compares with.
        beside: other models, of which only the rows are wanted.
        rivals_at: operating points at whose sizes conventional codecs are measured; None: all.

    Raises:
        FailedPrecondition: EVALUATION_DATA_MISSING.
        InvalidInput: a file is not what it should be.
    """
    specimens = render_faces(model, find_faces(workshop.photos))
    with workshop.progress("Kodak") as progress:
        kodak, shown = evaluate_kodak(model, workshop.data / "kodak", progress=progress)
    origin = Origin(workshop.command, software_commit())
    result, lfw, trials = _measure_model(workshop, model, origin)
    for other in beside:
        _, _, more = _measure_model(replace(workshop, panel=NOBODY), other, origin)
        trials += more
    for point in rivals_at or model.manifest.codecs:
        target = round(result.points[point].bytes_mean)
        trials += _measure_rivals(workshop, model, lfw, origin, point=point, target_bytes=target)
    people = np.stack([lfw.people[lfw.pairs.first], lfw.people[lfw.pairs.second]], axis=1)
    results = Results(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=origin.command,
        commit=origin.commit,
        model=model_name(model),
        default_point=model.manifest.default_point,
        judges=tuple(
            JudgeRow(judge=role, name=judge.name, sha256=workshop.panel.digests[role])
            for role, judge in workshop.panel.judges.items()
        ),
        rows=tuple(trial.row for trial in trials),
        matrix=tuple(_matrix(result)),
        differences=tuple(differences(trials, people, model=model_name(model))),
        calibration=tuple(check_calibration(model, lfw.embedded.own, lfw.people)),
        open_set=tuple(open_set_rows(model, lfw)),
        kodak=tuple(kodak),
        slices=tuple(first_slices(model, lfw)),
    )
    write_results(workshop.report / "results.json", results)
    faces_sheet(specimens).save(workshop.report / "faces.png")
    kodak_sheet(shown).save(workshop.report / "kodak.png")
    return results


def _measure_model(
    workshop: Workshop, model: ModelDirectory, origin: Origin
) -> tuple[Result, Lfw, list[Trial]]:
    name, threads, cache = model_name(model), workshop.threads, workshop.cache
    pipeline = Pipeline(model, panel=workshop.panel, threads=threads, cache=cache)
    with workshop.progress(f"LFW, {name}") as progress:
        result, lfw = evaluate_lfw(model, pipeline, workshop.data, progress=progress)
    append_run(workshop.report / "lfw_runs.jsonl", result, command=workshop.command)
    default = model.manifest.default_point
    unquantized = UnquantizedPipeline(model, default, threads=threads, cache=cache)
    with open_lfw(workshop.data) as files, workshop.progress(f"{name}, unrounded") as progress:
        faces = files.batches(lfw.names)
        vectors = unquantized.embed(faces, total=len(lfw.names), progress=progress)
    unrounded = unquantized_trial(model, default, vectors, lfw, origin)
    return (
        result,
        lfw,
        [
            *model_trials(model, lfw, origin),
            *template_trials(model, lfw, origin),
            unrounded,
        ],
    )


def _measure_rivals(
    workshop: Workshop,
    model: ModelDirectory,
    lfw: Lfw,
    origin: Origin,
    *,
    point: str,
    target_bytes: int,
) -> Iterator[Trial]:
    """Every conventional codec at one size, on the photographs that occur in pairs."""
    rows = np.union1d(lfw.pairs.first, lfw.pairs.second)
    names = [lfw.names[row] for row in rows]
    pairs = replace(
        lfw.pairs,
        first=np.searchsorted(rows, lfw.pairs.first),
        second=np.searchsorted(rows, lfw.pairs.second),
    )
    own = ExtractorJudge(MapDecoder(model))
    panel = workshop.panel.joined_by(OWN, own, model.manifest.embedding_space)
    for codec in CODECS:
        for measured in get_args(Measure):
            rival = Rival(codec, target_bytes, measured)
            title = f"{codec.name}, {target_bytes} bytes of {measured}"
            with open_lfw(workshop.data) as files, workshop.progress(title) as progress:
                judged = judge_rival(
                    rival,
                    files.batches(names, size=BLOCK),
                    panel,
                    total=len(names),
                    workers=workshop.threads,
                    progress=progress,
                    cache=workshop.cache,
                )
            yield from rival_trials(rival, judged, pairs, origin, model=model, point=point)


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
