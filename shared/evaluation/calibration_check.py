"""Check on LFW whether thresholds calibrated on held-out people keep their false match rate."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.calibration import CalibrationTable
from shared.evaluation.pipeline import Vectors
from shared.evaluation.rows import CalibrationRow
from shared.model_directory import UNCOMPRESSED, ModelDirectory

FMRS = (1e-2, 1e-3, 1e-4)
_BLOCK = 512


def check_calibration(
    model: ModelDirectory, vectors: Mapping[str, Vectors], people: NDArray[np.int64]
) -> list[CalibrationRow]:
    """Measure the false match rates of the manifest's thresholds on other people.

    Every pair of photographs of two people counts once, in their order.

    Args:
        model: model whose calibration tables are checked, as far as their forms are given.
        vectors: embeddings of N photographs by form.
        people: (N,) the person in each, ascending.
    """
    forms = {model.codec(form).codec_id: form for form in vectors if form != UNCOMPRESSED}
    forms[UNCOMPRESSED] = UNCOMPRESSED
    return [
        row
        for table in model.manifest.calibration
        if table.probe_codec in forms and table.enrolled_codec in forms
        for row in _check_table(
            table, forms[table.probe_codec], forms[table.enrolled_codec], vectors, people
        )
    ]


def _check_table(
    table: CalibrationTable,
    probe: str,
    enrolled: str,
    vectors: Mapping[str, Vectors],
    people: NDArray[np.int64],
) -> list[CalibrationRow]:
    thresholds = np.array([table.threshold(fmr).similarity for fmr in FMRS], np.float32)
    reached, pairs = count_strangers(vectors[probe], vectors[enrolled], people, thresholds)
    return [
        CalibrationRow(
            probe=probe,
            enrolled=enrolled,
            fmr=fmr,
            threshold=float(threshold),
            measured=count / pairs,
            pairs=pairs,
        )
        for fmr, threshold, count in zip(FMRS, thresholds, reached.tolist(), strict=True)
    ]


def count_strangers(
    probe: Vectors,
    enrolled: Vectors,
    people: NDArray[np.int64],
    thresholds: NDArray[np.float32],
) -> tuple[NDArray[np.int64], int]:
    """Count the impostor pairs, and those that reach each threshold.

    Args:
        probe: (N, D) unit vectors.
        enrolled: (N, D) unit vectors of the same photographs.
        people: (N,) the person in each, ascending; each pair counts once.
        thresholds: (T,).

    Returns:
        (T,) pairs at or above each threshold, and the number of all pairs.
    """
    reached = np.zeros(len(thresholds), np.int64)
    pairs = 0
    for start in range(0, len(people), _BLOCK):
        rows = slice(start, start + _BLOCK)
        strangers = people[rows, np.newaxis] < people[start:]
        similarities = (probe[rows] @ enrolled[start:].T)[strangers]
        reached += [np.count_nonzero(similarities >= threshold) for threshold in thresholds]
        pairs += len(similarities)
    return reached, pairs
