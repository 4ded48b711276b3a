"""Does a threshold hold what it promises, whatever was wrong with the photographs?

Pairs of strangers are spoilt alike: what two faces have in common drives them together. The rates
are those of pairs in which neither face is called LOW_QUALITY. Intervals (95 %) are bootstrapped
over people, since pairs of one person are not independent.
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shared.calibration import CalibrationTable, identification_fmr
from shared.errors import FailedPrecondition
from shared.evaluation.bootstrap import rate_interval
from shared.evaluation.coded import Coded, Coder
from shared.evaluation.lfw_files import LfwFiles
from shared.evaluation.pipeline import BATCH, Faces, Progress, crops_of, no_progress
from shared.evaluation.runs import software_commit
from shared.evaluation.spoilings import CONDITIONS, spoil, texture
from shared.faces.detect import Landmarks
from shared.faces.picture import PictureLimits, decode_picture
from shared.faces.pose import yaw_degrees
from shared.faces.quality import quality as measured_quality
from shared.faces.refine import Refiner
from shared.inference.quality_head import NOT_A_FACE, Judged, QualityHead
from shared.model_directory import ModelDirectory
from shared.record import Record

RATES = (1e-3, 1e-4)
UNSPOILT, TEXTURES = "unspoilt", "textures"
YAW_BINS = (0, 15, 30, 45, 60, 90)
DISCARDED = tuple(i / 20 for i in range(11))
_DRAWS = 200
_FPIR = 1e-2
_SEED = 21
_PHOTOS = 2
_TEXTURES = "textures/bsds.zip"
_Rows: TypeAlias = NDArray[np.int64]


class TrustRow(Record):
    """What one condition makes of one promise.

    Attributes:
        condition: of `CONDITIONS`, or a range of yaw.
        fmr_asked: the false match rate that the threshold was to hold.
        fmr_measured: what it is among pairs of strangers; None: no pair is left to measure on.
        low: lower end of its 95 % interval.
        high: upper end of it.
        fnmr: share of genuine pairs below their threshold; None: there are none.
        low_quality_share: of faces.
        pairs: of strangers, neither called LOW_QUALITY.
        genuine_pairs: likewise.
        faces: all of them.
    """

    condition: str
    fmr_asked: float = Field(gt=0, lt=1)
    fmr_measured: float | None
    low: float | None
    high: float | None
    fnmr: float | None
    low_quality_share: float
    pairs: int
    genuine_pairs: int
    faces: int


class SearchRow(Record):
    """What a promise is worth in a search, by unspoilt photographs.

    Attributes:
        fpir_asked: share of strangers' probes that may match anybody.
        fpir_measured: share of those that do.
        low: lower end of its 95 % interval, bootstrapped over probes.
        high: upper end of it.
        fnir: share of enrolled people's probes that do not match their subject first.
        enrolled: faces searched, one a person.
        strangers: probes of people who are not enrolled.
    """

    fpir_asked: float
    fpir_measured: float
    low: float
    high: float
    fnir: float
    enrolled: int
    strangers: int


class DiscardCurve(Record):
    """FNMR at FMR 1e-3 once the worst pairs are discarded.

    Attributes:
        measure: what ranks pairs, by the worse of their two faces.
        discarded: shares of pairs left out.
        fnmr: of the genuine pairs that stay.
    """

    measure: str
    discarded: tuple[float, ...]
    fnmr: tuple[float, ...]


class Trust(Record):
    """trust.json: every figure of trust.md.

    Attributes:
        model: `<family>/<version>`.
        point: operating point of both sides.
        min_quality: below it a face is called LOW_QUALITY.
        quality: "learned", or "measured" for a model without a quality head.
        command: what was typed.
        commit: of the software.
        rows: conditions, then ranges of yaw.
        search: one person enrolled, the next a stranger, and so on; None: too few faces are left.
        curves: error versus discard.
    """

    model: str
    point: str
    min_quality: float
    quality: str
    command: str
    commit: str
    rows: tuple[TrustRow, ...]
    search: SearchRow | None
    curves: tuple[DiscardCurve, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """N faces as the product sees them.

    Attributes:
        people: (N,) who each shows; those of no face are all different.
        coded: through codec and extractor.
        judged: what the map says of the face.
        yaw: (N,) degrees.
        score: (N,) the detector's, in [0, 1].
        before: (N,) the quality that models without a head go by.
    """

    people: NDArray[np.int64]
    coded: Coded
    judged: Judged
    yaw: NDArray[np.float32]
    score: NDArray[np.float32]
    before: NDArray[np.float32]

    def excess(self, rows: _Rows, others: "Seen", columns: _Rows) -> NDArray[np.float32]:
        """(N, M) similarity of some faces to some others, less their allowance."""
        similarity = self.coded.vectors[rows] @ others.coded.vectors[columns].T
        return similarity - self.judged[rows].allowance(others.judged[columns])


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
        name: chosen[: _PHOTOS * (people if name == UNSPOILT else spoilt_people)]
        for name in CONDITIONS
    }
    sources = _textures(data, _PHOTOS * spoilt_people)
    total = sum(map(len, shown.values())) + (len(sources) if sources is not None else 0)
    seen: dict[str, Seen] = {}
    done = 0
    for name, names in shown.items():
        faces = (batch for batch in files.batches(names))
        owners = _owners(name, names)
        seen[name] = looker.look(_spoilt(faces, name), owners)
        done += len(names)
        progress(done, total)
    if sources is not None:
        seen[TEXTURES] = looker.look(_batches(sources), np.arange(len(sources)))
        progress(total, total)
    table = model.manifest.calibration_for(coder.codec_id, coder.codec_id)
    thresholds = {rate: table.threshold(rate).similarity for rate in RATES}
    rows = [
        row
        for name, faces in seen.items()
        for row in _rows(name, faces, thresholds, min_quality=min_quality)
    ]
    rows += _by_yaw(seen[UNSPOILT], thresholds, min_quality=min_quality)
    return Trust(
        model=f"{model.manifest.family}/{model.manifest.version}",
        point=coder.point,
        min_quality=min_quality,
        quality="measured" if head is None else "learned",
        command=command,
        commit=software_commit(),
        rows=tuple(rows),
        search=_search(seen[UNSPOILT], table, min_quality=min_quality),
        curves=tuple(_curves(seen, thresholds[RATES[0]], learned=head is not None)),
    )


def _names(files: LfwFiles, people: int) -> list[str]:
    """Two photographs each of people who have them, in a fixed random order of people."""
    of_person: dict[str, list[str]] = {}
    for name in files.names:
        of_person.setdefault(_person(name), []).append(name)
    several = [names[:_PHOTOS] for names in of_person.values() if len(names) >= _PHOTOS]
    if len(several) < 2:  # noqa: PLR2004 - a stranger takes two
        raise FailedPrecondition(
            "EVALUATION_DATA_MISSING",
            f"{len(several)} people of LFW have two photographs; at least 2 are needed",
        )
    order = np.random.default_rng(_SEED).permutation(len(several))[:people]
    return [name for person in order for name in several[person]]


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

    def look(self, batches: Iterator[Faces], people: NDArray[np.int64]) -> Seen:
        coded, points, scores, before = [], [], [], []
        for faces in batches:
            coded.append(self._coder.code([faces]))
            landmarks, score = self._refiner.scored_within(faces)
            points.append(landmarks)
            scores.append(score)
            before.append(_measured(faces, landmarks))
        together = Coded(
            np.concatenate([part.symbols for part in coded]),
            np.concatenate([part.vectors for part in coded]),
        )
        measured = np.concatenate(before)
        judged = (
            self._head.judge(together.symbols, self._format)
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
        )


def _measured(faces: Faces, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """The quality of before, as if the aligned faces were photographs."""
    return np.array(
        [
            measured_quality(crop, Landmarks(*((x, y) for x, y in points.tolist())))
            for crop, points in zip(crops_of(faces), landmarks, strict=True)
        ],
        np.float32,
    )


def _rows(
    condition: str,
    seen: Seen,
    thresholds: dict[float, float],
    *,
    min_quality: float,
    wanted: NDArray[np.bool_] | None = None,
) -> Iterator[TrustRow]:
    """A row for each asked rate; `wanted` says, for each two faces, whether they are compared."""
    fit = seen.judged.quality >= min_quality
    kept = np.nonzero(fit)[0]
    _, people = np.unique(seen.people[kept], return_inverse=True)
    excess = seen.excess(kept, seen, kept)
    once = np.triu(np.ones_like(excess, bool), 1)
    if wanted is not None:
        once &= wanted[np.ix_(kept, kept)]
    same = people[:, None] == people[None]
    strangers, mates = once & ~same, once & same
    pairs = int(strangers.sum())
    for rate, threshold in thresholds.items():
        reached = excess >= threshold
        measured = float(reached[strangers].mean()) if pairs else None
        low, high = rate_interval(reached & strangers, strangers, people) if pairs else (None, None)
        yield TrustRow(
            condition=condition,
            fmr_asked=rate,
            fmr_measured=measured,
            low=low,
            high=high,
            fnmr=float(1 - reached[mates].mean()) if mates.any() else None,
            low_quality_share=float(1 - fit.mean()),
            pairs=pairs,
            genuine_pairs=int(mates.sum()),
            faces=len(fit),
        )


def _search(seen: Seen, table: CalibrationTable, *, min_quality: float) -> SearchRow | None:
    """Everyone's second photograph is a probe; the first of every other person is enrolled."""
    fit = seen.judged.quality >= min_quality
    first = np.nonzero(fit & (np.arange(len(fit)) % _PHOTOS == 0))[0]
    probes = np.nonzero(fit & (np.arange(len(fit)) % _PHOTOS == 1))[0]
    gallery = first[first // _PHOTOS % 2 == 0]
    strange = probes // _PHOTOS % 2 == 1
    if not len(gallery) or not strange.any() or strange.all():
        return None
    excess = seen.excess(probes, seen, gallery)
    threshold = table.threshold(identification_fmr(_FPIR, len(gallery))).similarity
    best = excess.argmax(1)
    matched = excess.max(1) >= threshold
    alarms = matched[strange]
    draws = np.random.default_rng(_SEED).binomial(len(alarms), alarms.mean(), _DRAWS)
    low, high = np.percentile(draws / len(alarms), [2.5, 97.5])
    right = matched & (seen.people[gallery][best] == seen.people[probes])
    return SearchRow(
        fpir_asked=_FPIR,
        fpir_measured=float(alarms.mean()),
        low=float(low),
        high=float(high),
        fnir=float(1 - right[~strange].mean()),
        enrolled=len(gallery),
        strangers=len(alarms),
    )


def _by_yaw(
    seen: Seen, thresholds: dict[float, float], *, min_quality: float
) -> Iterator[TrustRow]:
    """Unspoilt pairs, by the yaw of the more turned of the two."""
    turned = np.abs(seen.yaw)
    worse = np.maximum(turned[:, None], turned[None])
    for low, high in pairwise(YAW_BINS):
        wanted = (worse >= low) & (worse < high)
        if np.triu(wanted, 1).any():
            name = f"yaw {low}° to {high}°"
            yield from _rows(name, seen, thresholds, min_quality=min_quality, wanted=wanted)


def _curves(seen: Mapping[str, Seen], threshold: float, *, learned: bool) -> Iterator[DiscardCurve]:
    """Of all conditions together: a spoilt probe against the person's other photograph as it is."""
    measures: dict[str, Callable[[Seen], NDArray[np.float32]]] = {
        "measured quality": lambda each: each.before,
        "detector score": lambda each: each.score,
    }
    if learned:
        measures = {"learned quality": lambda each: each.judged.quality} | measures
    missed: list[NDArray[np.bool_]] = []
    worse: dict[str, list[NDArray[np.float32]]] = {name: [] for name in measures}
    unspoilt = seen[UNSPOILT]
    for condition, each in seen.items():
        if condition == TEXTURES or NOT_A_FACE in CONDITIONS[condition].parts:
            continue
        probes = np.arange(len(each.people))
        mates = probes ^ 1  # photographs stand in pairs
        excess = each.excess(probes, unspoilt, probes)
        missed.append(excess[probes, mates] < threshold)
        for name, measure in measures.items():
            worse[name].append(np.minimum(measure(each), measure(unspoilt)[mates]))
    failed = np.concatenate(missed)
    for name, parts in worse.items():
        ranked = failed[np.argsort(np.concatenate(parts), kind="stable")]
        rates = [float(ranked[round(share * len(ranked)) :].mean()) for share in DISCARDED]
        yield DiscardCurve(measure=name, discarded=DISCARDED, fnmr=tuple(rates))
