"""What helped: the joint stage with one thing changed at a time, judged on held-out people.

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
    """One row of the table.

    Attributes:
        name: of its run folder.
        says: what is different, for the reader.
        changes: fields of the base recipe by name, nested as they are.
    """

    name: str
    says: str
    changes: dict[str, JsonValue] = Field(default_factory=dict)


class AblationRecipe(Recipe):
    """The whole table.

    Attributes:
        base: recipe of the joint stage that all variants change, with one operating point.
        variants: in the order of the table; the first one is what others are compared with.
    """

    base: CodecRecipe
    variants: list[Variant] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A variant on the validation set, both sides compressed unless said otherwise.

    Attributes:
        says: what is different.
        bytes_mean: mean size of the maps.
        accuracy: share of pairs told right.
        tar_at_far_1e3: share of genuine pairs accepted at a false accept rate of 1e-3.
        against_uncompressed: accuracy of compressed probes against uncompressed enrolments.
        uncompressed: accuracy where no side is compressed.
        before_reference: accuracy before the extractor that training began with, which has
            never seen a reconstruction.
        samples: faces seen in training.
        seconds: wall-clock time of training, since it was last begun.
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
    """Train and judge every variant that is not judged yet, and write the table.

    Args:
        faces: training faces.
        views: mixtures of them.
        recipe: the table.
        out: folder of run folders.
        extractor: folder of the run of stage 0.
        teachers: see `train_codec`.
        report: where the table goes, as JSON and as Markdown.
        threads: cores to judge with.
    """
    for variant in track(recipe.variants, description="ablation"):
        run = out / variant.name
        judged = run / "outcome.json"
        if judged.exists():
            continue
        changed = CodecRecipe.model_validate(_merged(recipe.base.model_dump(), variant.changes))
        began = time.monotonic()
        train_codec(faces, views, changed, run, extractor=extractor, teachers=teachers)
        seconds = time.monotonic() - began
        outcome = _judge(
            run, faces, changed, variant.says, extractor=extractor, seconds=seconds, threads=threads
        )
        judged.write_text(json.dumps(asdict(outcome), indent=2))
    outcomes = [
        Outcome(**json.loads((out / variant.name / "outcome.json").read_text()))
        for variant in recipe.variants
    ]
    report.mkdir(parents=True, exist_ok=True)
    listed = [asdict(outcome) for outcome in outcomes]
    (report / RESULTS_FILE).write_text(json.dumps(listed, indent=2) + "\n")
    (report / TABLE_FILE).write_text(_table(outcomes))


def _merged(base: dict[str, Any], changes: dict[str, JsonValue]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        inner = base.get(name)
        merged[name] = (
            _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
        )
    return merged


def _judge(
    run: Path,
    faces: Faces,
    recipe: CodecRecipe,
    says: str,
    *,
    extractor: Path,
    seconds: float,
    threads: int,
) -> Outcome:
    with tempfile.TemporaryDirectory() as scratch:
        model = store(
            [run],
            models=Path(scratch),
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
    return Outcome(
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


def _table(outcomes: Sequence[Outcome]) -> str:
    lines = [
        "# What helped",
        "",
        f"Verification of {_PAIRS:,} pairs of held-out people after a short joint training of",
        f"{outcomes[0].samples:,} faces, one thing changed at a time",
        "(`compactface train ablation`). Short runs rank; they do not reach what long ones reach,",
        "and a difference of less than a point may be chance.",
        "The last column is judged by the extractor that training began with, which has never",
        "seen a reconstruction.",
        "",
        (
            "| | bytes | map vs map, % | difference | TAR at FAR 1e-3, % | map vs crop, % "
            "| crop vs crop, % | map vs map before another, % |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    first = outcomes[0]
    for outcome in outcomes:
        difference = 100 * (outcome.accuracy - first.accuracy)
        lines.append(
            f"| {outcome.says} | {outcome.bytes_mean:.0f} | {100 * outcome.accuracy:.2f} "
            f"| {'' if outcome is first else f'{difference:+.2f}'} "
            f"| {100 * outcome.tar_at_far_1e3:.1f} "
            f"| {100 * outcome.against_uncompressed:.2f} | {100 * outcome.uncompressed:.2f} "
            f"| {100 * outcome.before_reference:.2f} |"
        )
    return "\n".join(lines) + "\n"
