"""Re-measure the first fold of LFW to check the committed figures."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from shared.errors import FailedPrecondition
from shared.evaluation.lfw import Lfw, images_of, rows_of
from shared.evaluation.lfw_files import open_lfw
from shared.evaluation.pipeline import Pipeline, Progress, no_progress
from shared.evaluation.protocol import cosines, decide
from shared.evaluation.rows import Results, SliceRow
from shared.evaluation.weights import model_name, weights_sha256
from shared.model_directory import UNCOMPRESSED, ModelDirectory

# Rounding differs between machines: a symbol of a map may differ, and a pair cross the threshold.
_MAX_PAIRS_APART = 1
_MAX_BYTES_APART = 0.05
_MAX_SIMILARITY_APART = 2e-3


def first_slices(model: ModelDirectory, lfw: Lfw) -> list[SliceRow]:
    """The first fold of a full run, with thresholds chosen on the other folds."""
    rows = []
    for form in (UNCOMPRESSED, model.manifest.default_point):
        vectors = lfw.embedded.own[form]
        similarities = cosines(vectors, vectors, lfw.pairs)
        decisions = decide(similarities, lfw.pairs.same, folds=lfw.pairs.folds)
        rows.append(_slice_row(model, lfw, form, float(decisions.thresholds[0])))
    return rows


def measure_slices(
    model: ModelDirectory,
    committed: Results,
    data: Path,
    *,
    threads: int = 1,
    progress: Progress = no_progress,
) -> list[SliceRow]:
    """Measure the slices of `committed` again, at their thresholds.

    Raises:
        FailedPrecondition: EVALUATION_DATA_MISSING, or RESULTS_OF_OTHER_WEIGHTS: the report
            was made of another model.
    """
    point = model.manifest.default_point
    for row in committed.slices:
        if row.weights_sha256 != weights_sha256(model, point):
            raise FailedPrecondition(
                "RESULTS_OF_OTHER_WEIGHTS",
                f"results are those of {committed.model}, weights sha256 {row.weights_sha256}; "
                f"the model is {model_name(model)}, {weights_sha256(model, point)}: "
                "run `compactface evaluate report`",
            )
    pipeline = Pipeline(model, [point], threads=threads)
    with open_lfw(data) as files:
        first = files.folds[0]
        names = images_of(first)
        embedded = pipeline.embed(files.batches(names), total=len(names), progress=progress)
    lfw = Lfw(names, rows_of(first, names, folds=1), embedded)
    return [_slice_row(model, lfw, row.form, row.threshold) for row in committed.slices]


def disagreements(committed: SliceRow, measured: SliceRow) -> Iterator[str]:
    """Describe differences that rounding cannot explain; yields nothing if there are none."""
    apart = committed.pairs * abs(committed.accuracy - measured.accuracy)
    if (committed.pairs, committed.images) != (measured.pairs, measured.images):
        yield f"{measured.pairs} pairs of {measured.images} images, not those of the report"
    if round(apart) > _MAX_PAIRS_APART:
        yield f"accuracy {measured.accuracy:.4f}; the report says {committed.accuracy:.4f}"
    sizes = committed.bytes_mean or 0, measured.bytes_mean or 0
    if abs(sizes[0] - sizes[1]) > _MAX_BYTES_APART:
        yield f"{sizes[1]:.2f} bytes a face; the report says {sizes[0]:.2f}"
    for kind in ("genuine", "impostor"):
        said, found = getattr(committed, kind), getattr(measured, kind)
        if abs(said - found) > _MAX_SIMILARITY_APART:
            yield f"mean {kind} similarity {found:.4f}; the report says {said:.4f}"


def _slice_row(model: ModelDirectory, lfw: Lfw, form: str, threshold: float) -> SliceRow:
    """The first fold of `lfw` in one form, at a given threshold."""
    vectors, pairs = lfw.embedded.own[form], lfw.pairs
    first = slice(len(pairs.same) // pairs.folds)
    similarities = cosines(vectors, vectors, pairs)[first]
    same = pairs.same[first]
    images = np.union1d(pairs.first[first], pairs.second[first])
    sizes = lfw.embedded.map_bytes.get(form)
    return SliceRow(
        form=form,
        weights_sha256=weights_sha256(model, None if form == UNCOMPRESSED else form),
        pairs=len(same),
        images=len(images),
        bytes_mean=None if sizes is None else float(sizes[images].mean()),
        threshold=threshold,
        accuracy=float(np.mean((similarities >= threshold) == same)),
        genuine=float(similarities[same].mean()),
        impostor=float(similarities[~same].mean()),
    )
