"""Measure conventional codecs at the sizes of our maps; what was measured before is kept."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np

from shared.evaluation.baselines import BLOCK, Baseline, measure_baseline
from shared.evaluation.cache import Cache
from shared.evaluation.conventional import CODECS, Measure
from shared.evaluation.lfw import images_of, rows_of
from shared.evaluation.lfw_files import open_lfw
from shared.evaluation.measurements import Measurement, Origin, baseline_measurements
from shared.evaluation.panel import Panel
from shared.evaluation.pipeline import Progress
from shared.evaluation.protocol import Pairs
from shared.evaluation.rivals import KeptRivals
from shared.evaluation.rows import Row
from shared.evaluation.runs import software_commit
from shared.model_directory import ModelDirectory


@dataclass(frozen=True, slots=True)
class RivalSettings:
    """Settings of measurements of conventional codecs.

    Attributes:
        data: folder of `lfw112/` and, for a report, `kodak/`.
        report: folder to write to.
        rivals: names of conventional codecs to measure if their results are not kept; None: all.
        panel: judges besides the own extractor.
        cache: cache of slow results.
        threads: number of cores to use.
        command: the command line.
        progress: shows the progress of a stage, given its title.
    """

    data: Path
    report: Path
    rivals: Sequence[str] | None
    panel: Panel
    cache: Cache
    threads: int
    command: str
    progress: Callable[[str], AbstractContextManager[Progress]]


def measure_rivals(
    settings: RivalSettings, model: ModelDirectory, *, sizes: Sequence[int]
) -> Iterator[Row]:
    """Measure conventional codecs for the judges that do not depend on a model of ours.

    The results are kept, and `measure` finds them. They take up to hours for a codec.

    Args:
        settings: the settings.
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
        for measurement in measure_at_size(
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


def measure_at_size(
    settings: RivalSettings,
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
