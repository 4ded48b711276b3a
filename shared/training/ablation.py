"""Ablation: the joint stage with one change at a time, evaluated on held-out people.

compactface train ablation
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue
from rich.progress import track

from shared.evaluation.names import OWN, REFERENCE
from shared.evaluation.panel import open_panel
from shared.evaluation.validation import evaluate_validation
from shared.model_directory import UNCOMPRESSED
from shared.models.weights import weights_to_bytes
from shared.training.codec import train_codec
from shared.training.codec_recipe import CodecRecipe
from shared.training.faces import Faces
from shared.training.publish import store
from shared.training.recipe import Recipe
from shared.training.split import split_faces
from shared.training.student import load_student
from shared.training.teacher_file import TeacherFile
from shared.training.views import Views

RESULTS_FILE, TABLE_FILE = "ablation.json", "ablation.md"
_POINT = "standard"
_PAIRS = 2000


class Variant(Recipe):
    """One row of the ablation table.

    Attributes:
        name: name of the run folder.
        says: description of the change, for readers.
        changes: fields of the base recipe to replace, nested as in the recipe.
    """

    name: str
    says: str
    changes: dict[str, JsonValue] = Field(default_factory=dict)


class AblationRecipe(Recipe):
    """An ablation table.

    Attributes:
        base: recipe of the joint stage, with one operating point, that all variants change.
        variants: rows of the table; the first is the baseline.
    """

    base: CodecRecipe
    variants: list[Variant] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class AblationResult:
    """A variant's results on the validation set; both sides are compressed unless stated.

    Attributes:
        says: description of the change.
        bytes_mean: mean size of the maps.
        accuracy: share of pairs classified correctly.
        tar_at_far_1e3: share of genuine pairs accepted at a false accept rate of 1e-3.
        against_uncompressed: accuracy of compressed probes against uncompressed enrollments.
        uncompressed: accuracy with both sides uncompressed.
        before_reference: accuracy under the initial extractor, which has never seen a
            reconstruction.
        samples: faces seen in training.
        seconds: wall-clock training time since the last start.
    """

    says: str
    bytes_mean: float
    accuracy: float
    tar_at_far_1e3: float
    against_uncompressed: float
    uncompressed: float
    before_reference: float
    samples: int
    seconds: float


def run_ablation(
    faces: Faces,
    views: Views,
    recipe: AblationRecipe,
    out: Path,
    *,
    extractor: Path,
    teachers: Sequence[TeacherFile],
    report: Path,
    threads: int,
) -> None:
    """Train and evaluate every variant that has no result yet, and write the table.

    Args:
        faces: training faces.
        views: mixtures of training faces.
        recipe: the table.
        out: folder of run folders.
        extractor: run folder of stage 0.
        teachers: see `train_codec`.
        report: path of the table, written as JSON and as Markdown.
        threads: number of cores for evaluation.
    """
    for variant in track(recipe.variants, description="ablation"):
        run = out / variant.name
        result_file = run / "outcome.json"
        if result_file.exists():
            continue
        changed = CodecRecipe.model_validate(_merged(recipe.base.model_dump(), variant.changes))
        began = time.monotonic()
        train_codec(faces, views, changed, run, extractor=extractor, teachers=teachers)
        seconds = time.monotonic() - began
        result = _evaluate(
            run, faces, changed, variant.says, extractor=extractor, seconds=seconds, threads=threads
        )
        result_file.write_text(json.dumps(asdict(result), indent=2))
    results = [
        AblationResult(**json.loads((out / variant.name / "outcome.json").read_text()))
        for variant in recipe.variants
    ]
    report.mkdir(parents=True, exist_ok=True)
    listed = [asdict(result) for result in results]
    (report / RESULTS_FILE).write_text(json.dumps(listed, indent=2) + "\n")
    (report / TABLE_FILE).write_text(_table(results))


def _merged(base: dict[str, Any], changes: dict[str, JsonValue]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        inner = base.get(name)
        merged[name] = (
            _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
        )
    return merged


def _evaluate(
    run: Path,
    faces: Faces,
    recipe: CodecRecipe,
    says: str,
    *,
    extractor: Path,
    seconds: float,
    threads: int,
) -> AblationResult:
    with tempfile.TemporaryDirectory() as scratch:
        model = store(
            [run],
            models=Path(scratch),
            faces=faces,
            split=split_faces(faces),
            family="ablation",
            version="1",
            default_point=_POINT,
        )
        began_with = Path(scratch) / "reference.safetensors"
        network = load_student(extractor).extractor
        began_with.write_bytes(weights_to_bytes(network, storage="float16"))
        panel = open_panel(reference=began_with, unseen=None, threads=threads)
        result = evaluate_validation(model, faces, panel=panel, count=_PAIRS, threads=threads)
    scores = {(cell.judge, cell.probe, cell.enrolled): cell.score for cell in result.cells}
    own = scores[OWN, _POINT, _POINT]
    return AblationResult(
        says=says,
        bytes_mean=result.points[_POINT].bytes_mean,
        accuracy=own.accuracy,
        tar_at_far_1e3=own.tar_at_far_1e3,
        against_uncompressed=scores[OWN, _POINT, UNCOMPRESSED].accuracy,
        uncompressed=scores[OWN, UNCOMPRESSED, UNCOMPRESSED].accuracy,
        before_reference=scores[REFERENCE, _POINT, _POINT].accuracy,
        samples=recipe.schedule.samples,
        seconds=seconds,
    )


def _table(results: Sequence[AblationResult]) -> str:
    lines = [
        "# Ablation",
        "",
        f"Verification of {_PAIRS:,} pairs of held-out people after a short joint training of",
        f"{results[0].samples:,} faces, with one change at a time",
        "(`compactface train ablation`). Short runs rank variants; they do not reach the accuracy",
        "of long runs, and differences below one point may be noise.",
        "The last column uses the initial extractor, which has never seen a reconstruction.",
        "",
        (
            "| | bytes | map vs map, % | difference | TAR at FAR 1e-3, % | map vs crop, % "
            "| crop vs crop, % | map vs map, initial extractor, % |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    first = results[0]
    for result in results:
        difference = 100 * (result.accuracy - first.accuracy)
        lines.append(
            f"| {result.says} | {result.bytes_mean:.0f} | {100 * result.accuracy:.2f} "
            f"| {'' if result is first else f'{difference:+.2f}'} "
            f"| {100 * result.tar_at_far_1e3:.1f} "
            f"| {100 * result.against_uncompressed:.2f} | {100 * result.uncompressed:.2f} "
            f"| {100 * result.before_reference:.2f} |"
        )
    return "\n".join(lines) + "\n"
