"""Does a threshold hold what it promises, whatever was wrong with the photographs?

Pairs of strangers are spoilt alike: what two faces have in common drives them together. The rates
are those of pairs in which neither face is called LOW_QUALITY: by the head, or by the encoder,
which knows where the picture ends and how dark it is. Intervals (95 %) are bootstrapped over
people, since pairs of one person are not independent.
"""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import FailedPrecondition
from shared.evaluation.coded import Coder, joined
from shared.evaluation.lfw_files import LfwFiles
from shared.evaluation.pipeline import BATCH, Faces, Progress, crops_of, no_progress
from shared.evaluation.runs import software_commit
from shared.evaluation.spoilings import CONDITIONS, OUTSIDE, spoil, texture
from shared.evaluation.trust_rates import (
    PHOTOS,
    RATES,
    TEXTURES,
    UNSPOILT,
    Seen,
    discard_curves,
    rows_by_yaw,
    search_row,
    trust_rows,
)
from shared.evaluation.trust_records import Trust
from shared.faces.detect import Landmarks
from shared.faces.fitness import UNFIT_QUALITY, is_unfit, sure_flaws
from shared.faces.picture import PictureLimits, decode_picture
from shared.faces.pose import yaw_degrees
from shared.faces.quality import quality as measured_quality
from shared.faces.refine import Refiner
from shared.inference.quality_head import NOT_A_FACE, Judged, QualityHead
from shared.model_directory import ModelDirectory

_SEED = 21
_TEXTURES = "textures/bsds.zip"
_SOME = 0.01  # unfit faces, in a condition that is measured by the map alone, too


def evaluate_trust(
    model: ModelDirectory,
    coder: Coder,
    files: LfwFiles,
    data: Path,
    *,
    min_quality: float,
    people: int,
    spoilt_people: int,
    command: str,
    progress: Progress = no_progress,
) -> Trust:
    """Measure every condition on LFW, two photographs of each person.

    People with one photograph are the strangers of the search.

    Args:
        model: a verified model directory.
        coder: of this model.
        files: LFW.
        data: folder with textures/bsds.zip, for what shows no face; without it that is left out.
        min_quality: in [0, 1].
        people: of whom unspoilt photographs are compared, at most.
        spoilt_people: likewise in every other condition; the first of them.
        command: what was typed.
        progress: called for every batch.

    Raises:
        FailedPrecondition: EVALUATION_DATA_MISSING; too few people with two photographs.
    """
    chosen = _names(files, people)
    head = QualityHead.of_model(model, coder.point)
    looker = _Looker(model, coder, head)
    shown = {
        name: chosen[: PHOTOS * (people if name == UNSPOILT else spoilt_people)]
        for name in CONDITIONS
    }
    sources = _textures(data, PHOTOS * spoilt_people)
    strange = _names_of_strangers(files)
    total = sum(map(len, shown.values())) + len(strange)
    total += len(sources) if sources is not None else 0
    seen: dict[str, Seen] = {}
    by_map: dict[str, Seen] = {}
    done = 0
    for name, names in shown.items():
        faces = (batch for batch in files.batches(names))
        owners = _owners(name, names)
        found = looker.look(_spoilt(faces, name), owners, cut=OUTSIDE in CONDITIONS[name].parts)
        if found.unfit.mean() > _SOME:
            by_map[f"{name}, by the map alone"] = found
        seen[name] = _as_encoded(found)
        done += len(names)
        progress(done, total)
    if sources is not None:
        seen[TEXTURES] = looker.look(_batches(sources), np.arange(len(sources)))
        done += len(sources)
        progress(done, total)
    search = None
    if strange:
        found = looker.look(files.batches(strange), np.arange(len(strange)))
        search = (seen[UNSPOILT], _as_encoded(found))
        progress(total, total)
    table = model.manifest.calibration_less_allowance(coder.codec_id, coder.codec_id)
    thresholds = {rate: table.threshold(rate).similarity for rate in RATES}
    rows = [
        row
        for name, faces in (seen | by_map).items()
        for row in trust_rows(name, faces, thresholds, min_quality=min_quality)
    ]
    rows += rows_by_yaw(seen[UNSPOILT], thresholds, min_quality=min_quality)
    return Trust(
        model=f"{model.manifest.family}/{model.manifest.version}",
        point=coder.point,
        min_quality=min_quality,
        quality="measured" if head is None else "learned",
        command=command,
        commit=software_commit(),
        rows=tuple(rows),
        search=search_row(*search, table, min_quality=min_quality) if search else None,
        curves=tuple(discard_curves(seen, thresholds[RATES[0]], learned=head is not None)),
    )


def _names(files: LfwFiles, people: int) -> list[str]:
    """Two photographs each of people who have them, in a fixed random order of people."""
    several = [names[:PHOTOS] for names in _by_person(files) if len(names) >= PHOTOS]
    if len(several) < 2:  # noqa: PLR2004 - a stranger takes two
        raise FailedPrecondition(
            "EVALUATION_DATA_MISSING",
            f"{len(several)} people of LFW have two photographs; at least 2 are needed",
        )
    order = np.random.default_rng(_SEED).permutation(len(several))[:people]
    return [name for person in order for name in several[person]]


def _names_of_strangers(files: LfwFiles) -> list[str]:
    """The photographs of people who have no other."""
    return [name for name, *others in _by_person(files) if not others]


def _by_person(files: LfwFiles) -> list[list[str]]:
    of_person: dict[str, list[str]] = {}
    for name in files.names:
        of_person.setdefault(_person(name), []).append(name)
    return list(of_person.values())


def _person(name: str) -> str:
    return name.partition("/")[0]


def _owners(condition: str, names: Sequence[str]) -> NDArray[np.int64]:
    if NOT_A_FACE in CONDITIONS[condition].parts:
        return np.arange(len(names))
    _, owners = np.unique([_person(name) for name in names], return_inverse=True)
    return owners


def _spoilt(batches: Iterator[Faces], condition: str) -> Iterator[Faces]:
    draw = CONDITIONS[condition].draw
    for number, batch in enumerate(batches):
        yield spoil(batch, draw, seed=_SEED + 1000 * number)


def _textures(data: Path, count: int) -> Faces | None:
    """Pieces of photographs without faces, as many as photographs of a spoilt condition."""
    path = data / _TEXTURES
    if not path.is_file():
        return None
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        pictures = [
            decode_picture(archive.read(name), PictureLimits()) for name in names[: count // 2]
        ]
    return np.stack(
        [
            texture(pictures[n % len(pictures)], np.random.default_rng([_SEED, n]))
            for n in range(count)
        ]
    )


def _batches(faces: Faces) -> Iterator[Faces]:
    for start in range(0, len(faces), BATCH):
        yield faces[start : start + BATCH]


class _Looker:
    """Sees faces as the product would."""

    def __init__(self, model: ModelDirectory, coder: Coder, head: QualityHead | None) -> None:
        self._coder = coder
        self._head = head
        self._format = model.codec(coder.point).map_format
        self._refiner = Refiner(threads=1)

    def look(
        self, batches: Iterator[Faces], people: NDArray[np.int64], *, cut: bool = False
    ) -> Seen:
        """Look at faces; `cut`: what is black lies outside the picture."""
        coded, points, scores, before, unfit = [], [], [], [], []
        for faces in batches:
            unfit += [is_unfit(_flaws(crop, cut=cut)) for crop in crops_of(faces)]
            coded.append(self._coder.code([faces]))
            landmarks, score = self._refiner.scored_within(faces)
            points.append(landmarks)
            scores.append(score)
            before.append(_measured(faces, landmarks))
        together = joined(coded)
        measured = np.concatenate(before)
        judged = (
            self._head.judge(together.symbols, self._format, together.lengths)
            if self._head
            else Judged.without_head(measured)
        )
        return Seen(
            people=people,
            coded=together,
            judged=judged,
            yaw=yaw_degrees(np.concatenate(points)),
            score=np.concatenate(scores),
            before=measured,
            unfit=np.array(unfit),
        )


def _flaws(crop: Faces, *, cut: bool) -> dict[str, float]:
    outside = float((crop == 0).all(2).mean()) if cut else 0.0
    return sure_flaws(crop, outside=outside)


def _as_encoded(seen: Seen) -> Seen:
    """Faces with the quality that counts, given what the encoder claims."""
    usual = seen.judged.usual_claims
    claims = np.where(seen.unfit, np.minimum(usual, UNFIT_QUALITY), usual)
    return replace(seen, judged=seen.judged.given(claims))


def _measured(faces: Faces, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """The quality of before, as if the aligned faces were photographs."""
    return np.array(
        [
            measured_quality(crop, Landmarks(*((x, y) for x, y in points.tolist())))
            for crop, points in zip(crops_of(faces), landmarks, strict=True)
        ],
        np.float32,
    )
