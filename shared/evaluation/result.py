"""Results of an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.evaluation.pipeline import Embedded
from shared.evaluation.protocol import Pairs, Score, cosines, score
from shared.evaluation.weights import model_name, weights_sha256
from shared.model_directory import ModelDirectory


@dataclass(frozen=True, slots=True)
class PointResult:
    """The maps of one operating point.

    Attributes:
        codec_id: id of the codec.
        weights_sha256: see `weights_sha256`.
        bytes_mean: mean size of the PNG files, one per photograph.
        bytes_max: size of the largest.
    """

    codec_id: str
    weights_sha256: str
    bytes_mean: float
    bytes_max: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One judge's score of probes in one form against enrollments in one form.

    Attributes:
        judge: name of the judge.
        probe: form of the probes, see `Embedded`.
        enrolled: form of the enrollments.
        score: the verification score.
    """

    judge: str
    probe: str
    enrolled: str
    score: Score


@dataclass(frozen=True, slots=True)
class Result:
    """Verification by one model: every form of probe against every form of enrollment.

    Attributes:
        dataset: name of the data set.
        model: `<family>/<version>`.
        images: number of encoded photographs.
        pairs: number of compared pairs.
        folds: number of folds.
        points: results by operating point.
        cells: results for every judge, probe and enrollment form.
        seconds: total wall-clock time.
    """

    dataset: str
    model: str
    images: int
    pairs: int
    folds: int
    points: Mapping[str, PointResult]
    cells: list[Cell]
    seconds: float


def score_result(
    model: ModelDirectory, embedded: Embedded, pairs: Pairs, *, dataset: str, seconds: float
) -> Result:
    """Score pairs of embedded photographs; the arguments are those of `Result`."""
    points = {
        point: PointResult(
            codec_id=model.codec(point).codec_id,
            weights_sha256=weights_sha256(model, point),
            bytes_mean=float(sizes.mean()),
            bytes_max=int(sizes.max()),
        )
        for point, sizes in embedded.map_bytes.items()
    }
    return Result(
        dataset=dataset,
        model=model_name(model),
        images=len(next(iter(embedded.map_bytes.values()))),
        pairs=len(pairs.same),
        folds=pairs.folds,
        points=points,
        cells=score_matrix(embedded, pairs),
        seconds=seconds,
    )


def score_matrix(embedded: Embedded, pairs: Pairs) -> list[Cell]:
    """Every judge's score of every form of probe against every form of enrollment."""
    return [
        Cell(judge, probe, enrolled, score(cosines(forms[probe], forms[enrolled], pairs), pairs))
        for judge, forms in embedded.vectors.items()
        for probe in forms
        for enrolled in forms
    ]
