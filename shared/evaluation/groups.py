"""Error rates by group of people: for whom does a threshold fail?

People held out of training are grouped by what their names begin with, up to the first underscore:
`nba_2544` is of the group `nba`. A collection of photographs often stands for an origin, an age or
an occupation. Thresholds are those for everyone.
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.coded import Coder
from shared.evaluation.pipeline import BATCH, Progress, no_progress
from shared.evaluation.runs import software_commit
from shared.evaluation.trust_rates import RATES, Compared, trust_rows
from shared.evaluation.trust_records import Groups, TrustRow
from shared.inference.quality_head import Judged, QualityHead
from shared.model_directory import ModelDirectory
from shared.training.faces import Faces
from shared.training.split import split_faces

EVERYONE, OTHERS = "everyone", "others"
PHOTOS = 4
"""Photographs of a person, at most, so that nobody dominates."""
LEAST = 10
"""Smaller groups are counted among the others: their intervals would say nothing."""


def evaluate_groups(
    model: ModelDirectory,
    coder: Coder,
    faces: Faces,
    *,
    min_quality: float,
    command: str,
    progress: Progress = no_progress,
) -> Groups:
    """Measure each group of at least `LEAST` people held out of training, and everyone.

    Args:
        model: a verified model directory.
        coder: of this model.
        faces: the training cache; `split_faces` selects the held-out people.
        min_quality: in [0, 1].
        command: what was typed.
        progress: called for every batch.
    """
    rows, people = _chosen(faces)
    coded = coder.code(faces.batches(rows, BATCH), progress=progress)
    head = QualityHead.of_model(model, coder.point)
    judged = (
        head.judge(coded.symbols, model.codec(coder.point).map_format, coded.lengths)
        if head
        else Judged.without_head(np.ones(len(rows), np.float32))
    )
    judged = judged.given(judged.usual_claims)
    everyone = Compared(np.unique(people, return_inverse=True)[1], coded, judged)
    groups = np.array(grouped([str(name) for name in people]))
    table = model.manifest.calibration_less_allowance(coder.codec_id, coder.codec_id)
    thresholds = {rate: table.threshold(rate).similarity for rate in RATES}
    found: list[TrustRow] = []
    counts = {}
    for group in (EVERYONE, *sorted({*groups} - {OTHERS}), OTHERS):
        wanted = np.full(len(rows), True) if group == EVERYONE else groups == group
        if wanted.any():
            counts[str(group)] = len(np.unique(people[wanted]))
            found += trust_rows(str(group), everyone[wanted], thresholds, min_quality=min_quality)
    return Groups(
        model=f"{model.manifest.family}/{model.manifest.version}",
        point=coder.point,
        min_quality=min_quality,
        command=command,
        commit=software_commit(),
        people=counts,
        rows=tuple(found),
    )


def grouped(people: list[str]) -> list[str]:
    """The group of each of N photographs, given who it shows."""
    groups = {person: person.partition("_")[0] for person in people}
    sizes = Counter(groups.values())
    return [groups[person] if sizes[groups[person]] >= LEAST else OTHERS for person in people]


def _chosen(faces: Faces) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Rows of the held-out people's first photographs, and who each shows."""
    owners = faces.identities()
    taken: Counter[str] = Counter()
    rows = []
    for row in split_faces(faces).validation:
        taken[owners[row]] += 1
        if taken[owners[row]] <= PHOTOS:
            rows.append(int(row))
    return np.array(rows), np.array([owners[row] for row in rows])
