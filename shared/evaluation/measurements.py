"""Score every codec on the same pairs with every judge, and compare them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.baselines import Baseline, BaselineResult
from shared.evaluation.bootstrap import accuracy_difference
from shared.evaluation.lfw import Lfw
from shared.evaluation.names import NO_CODEC, OURS, OWN, REFERENCE, TEMPLATE
from shared.evaluation.pipeline import Vectors
from shared.evaluation.protocol import FAR, Pairs, cosines, decide, tar_at_far
from shared.evaluation.rows import DifferenceRow, Row
from shared.evaluation.templates import TEMPLATES
from shared.evaluation.weights import model_name, weights_sha256
from shared.model_directory import UNCOMPRESSED, ModelDirectory

PROTOCOL = "{folds} folds, threshold from the others, both sides alike"


@dataclass(frozen=True, slots=True)
class Origin:
    """Origin of figures.

    Attributes:
        command: the command line.
        commit: commit of the software.
    """

    command: str
    commit: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result of one codec with one judge.

    Attributes:
        row: its figures.
        right: (P,) whether each pair was classified correctly.
    """

    row: Row
    right: NDArray[np.bool_]

    def beside(self, model: ModelDirectory, point: str) -> "Measurement":
        """A conventional codec's result, to be compared with a model's operating point."""
        compared = {
            "model": model_name(model),
            "operating_point": point,
            "weights_sha256": weights_sha256(model, point),
        }
        return replace(self, row=self.row.model_copy(update=compared))


def model_measurements(model: ModelDirectory, lfw: Lfw, origin: Origin) -> list[Measurement]:
    """Every form of a model's crops, with every judge."""
    return [
        _measurement(
            forms[form],
            lfw.pairs,
            origin,
            judge=judge,
            codec=NO_CODEC if form == UNCOMPRESSED else OURS,
            operating_point="" if form == UNCOMPRESSED else form,
            model=model_name(model),
            weights_sha256=weights_sha256(model, None if form == UNCOMPRESSED else form),
            bytes_mean=_mean(lfw.embedded.map_bytes.get(form)),
            images=len(lfw.names),
        )
        for judge, forms in lfw.embedded.vectors.items()
        for form in forms
    ]


def template_measurements(model: ModelDirectory, lfw: Lfw, origin: Origin) -> list[Measurement]:
    """The own extractor's embeddings of uncompressed crops, quantized as templates."""
    vectors = lfw.embedded.own[UNCOMPRESSED]
    return [
        _measurement(
            template.decoded(vectors),
            lfw.pairs,
            origin,
            judge=OWN,
            codec=TEMPLATE,
            operating_point=template.name,
            model=model_name(model),
            weights_sha256=weights_sha256(model, None),
            bytes_mean=float(template.bytes(vectors.shape[1])),
            images=len(lfw.names),
        )
        for template in TEMPLATES
    ]


def unquantized_measurement(
    model: ModelDirectory, point: str, vectors: Vectors, lfw: Lfw, origin: Origin
) -> Measurement:
    """An operating point without rounding; `vectors` embed the photographs of `lfw`."""
    return _measurement(
        vectors,
        lfw.pairs,
        origin,
        judge=OWN,
        codec=OURS,
        operating_point=point,
        quantized=False,
        model=model_name(model),
        weights_sha256=weights_sha256(model, point),
        bytes_mean=None,
        images=len(lfw.names),
    )


def baseline_measurements(
    baseline: Baseline,
    judged: BaselineResult,
    pairs: Pairs,
    origin: Origin,
    *,
    model: ModelDirectory,
    point: str,
) -> list[Measurement]:
    """A conventional codec at an operating point's size; `pairs` are rows of `judged`."""
    return [
        _measurement(
            vectors,
            pairs,
            origin,
            judge=judge,
            codec=baseline.codec.name,
            operating_point=point,
            model=model_name(model),
            weights_sha256=weights_sha256(model, point),
            measure=baseline.measure,
            bytes_mean=_mean(judged.sizes),
            on_target=float(judged.reached.mean()),
            images=len(judged.sizes),
        )
        for judge, vectors in judged.vectors.items()
    ]


def differences(
    measurements: Sequence[Measurement], people: NDArray[np.int64], *, model: str
) -> list[DifferenceRow]:
    """Differences between a model's operating points and everything they are compared with.

    That is the uncompressed crop with the same judge; A, the reference extractor's uncompressed
    crops; and each conventional codec at equal size. If the judge is our own extractor,
    conventional codecs get the better of own and reference extractor.

    Args:
        measurements: results on the same pairs.
        people: (P, 2) the people of each pair.
        model: `<family>/<version>`.
    """
    rows = []
    for ours in measurements:
        if (ours.row.codec, ours.row.model, ours.row.quantized) != (OURS, model, True):
            continue
        if ours.row.judge == REFERENCE:
            continue
        for other in _compared_with(ours.row, measurements):
            interval = accuracy_difference(ours.right, other.right, people)
            rows.append(
                DifferenceRow(
                    judge=ours.row.judge,
                    codec=ours.row.label,
                    other=other.row.label,
                    other_judge=other.row.judge,
                    difference=interval.difference,
                    low=interval.low,
                    high=interval.high,
                )
            )
    return rows


def _compared_with(ours: Row, measurements: Sequence[Measurement]) -> Iterator[Measurement]:
    judges = {ours.judge, REFERENCE} if ours.judge == OWN else {ours.judge}
    best: dict[str, Measurement] = {}
    for measurement in measurements:
        row = measurement.row
        if row.model != ours.model or row.judge not in judges or row.codec == OURS:
            continue
        if row.codec == NO_CODEC:
            yield measurement
        elif row.operating_point == ours.operating_point:
            baseline = best.setdefault(row.label, measurement)
            if baseline.row.accuracy < row.accuracy:
                best[row.label] = measurement
    yield from best.values()


def _measurement(
    vectors: Vectors,
    pairs: Pairs,
    origin: Origin,
    *,
    judge: str,
    codec: str,
    operating_point: str,
    model: str,
    weights_sha256: str,
    bytes_mean: float | None,
    images: int,
    quantized: bool = True,
    measure: str = "file",
    on_target: float = 1.0,
) -> Measurement:
    similarities = cosines(vectors, vectors, pairs)
    decisions = decide(similarities, pairs.same, folds=pairs.folds)
    row = Row(
        dataset="lfw",
        protocol=PROTOCOL.format(folds=pairs.folds),
        codec=codec,
        operating_point=operating_point,
        model=model,
        quantized=quantized,
        measure=measure,
        bytes_mean=bytes_mean,
        on_target=on_target,
        judge=judge,
        accuracy=float(decisions.of_folds.mean()),
        std=float(decisions.of_folds.std()),
        tar_at_far_1e3=tar_at_far(similarities, pairs.same, far=FAR),
        command=origin.command,
        commit=origin.commit,
        weights_sha256=weights_sha256,
        samples=len(pairs.same),
        images=images,
    )
    return Measurement(row, decisions.right)


def _mean(sizes: NDArray[np.int64] | None) -> float | None:
    return None if sizes is None else float(sizes.mean())
