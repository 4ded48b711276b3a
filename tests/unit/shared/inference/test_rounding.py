"""Symbols are chosen so that a readout finds the embedding, at little cost to the picture."""

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.codec.compact_map import MapFormat, dequantize, quantize
from shared.inference.readouts import Readout
from shared.inference.rounding import Rounding

FORMAT = MapFormat(3, 4, 2, 4, "row", spared=5)
SIZE, FACES = 6, 40
DISTORTION = 0.05
Floats = NDArray[np.float32]


@pytest.fixture
def readout() -> Readout:
    random = np.random.default_rng(1)
    weight = random.normal(size=(FORMAT.sent, SIZE)) / 4
    return Readout(weight.astype(np.float32), random.normal(size=SIZE).astype(np.float32) / 9)


@pytest.fixture
def latents() -> Floats:
    """Some of them a little outside [-1, 1], as quantized networks return them."""
    random = np.random.default_rng(2)
    return random.uniform(-1.05, 1.05, (FACES, *FORMAT.shape)).astype(np.float32)


@pytest.fixture
def embeddings() -> Floats:
    vectors = np.random.default_rng(3).normal(size=(FACES, SIZE)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _cost(
    readout: Readout, symbols: NDArray[np.uint8], latents: Floats, embeddings: Floats
) -> NDArray[np.float64]:
    """(N,) what a camera makes as small as it can, computed from the maps alone."""
    error = readout.estimate(dequantize(symbols, FORMAT)) - embeddings
    steps = ((latents + 1) * 1.5 - symbols).reshape(len(symbols), -1)[:, : FORMAT.sent]
    cost: NDArray[np.float64] = (error.astype(float) ** 2).sum(1)
    return cost + DISTORTION * (steps.astype(float) ** 2).sum(1)


def test_a_readout_finds_more_and_no_single_move_would_gain(
    readout: Readout, latents: Floats, embeddings: Floats
) -> None:
    nearest = quantize(latents, FORMAT.levels)
    rounded = Rounding(readout, FORMAT, distortion=DISTORTION).symbols(latents, embeddings)
    before, after = (_cost(readout, each, latents, embeddings) for each in (nearest, rounded))
    assert (after <= before + 1e-6).all()
    assert after.mean() < 0.7 * before.mean()
    for place in range(FORMAT.sent):
        for step in (-1, 1):
            moved = rounded.astype(int)
            moved.reshape(FACES, -1)[:, place] += step
            legal = (moved >= 0).all((1, 2, 3)) & (moved < FORMAT.levels).all((1, 2, 3))
            # Only the two levels on either side of a value are considered.
            beside = (np.abs(moved - (latents + 1) * 1.5) < 1).all((1, 2, 3))
            rows = legal & beside
            there = _cost(readout, moved[rows].astype(np.uint8), latents[rows], embeddings[rows])
            assert (there > after[rows] - 1e-5).all()


def test_a_symbol_is_one_of_the_two_levels_beside_its_value(
    readout: Readout, latents: Floats, embeddings: Floats
) -> None:
    rounded = Rounding(readout, FORMAT, distortion=1e-6).symbols(latents, embeddings)
    nearest = quantize(latents, FORMAT.levels)
    assert rounded.dtype == np.uint8
    assert (rounded < FORMAT.levels).all()
    within = np.abs(latents) <= 1
    assert (np.abs(rounded - (latents + 1) * 1.5)[within] < 1).all()
    assert 0.2 < (rounded != nearest).mean() < 0.6
    unsent = rounded.reshape(FACES, -1)[:, FORMAT.sent :]
    np.testing.assert_array_equal(unsent, nearest.reshape(FACES, -1)[:, FORMAT.sent :])


def test_what_costs_much_is_not_moved(
    readout: Readout, latents: Floats, embeddings: Floats
) -> None:
    rounded = Rounding(readout, FORMAT, distortion=1e6).symbols(latents, embeddings)
    np.testing.assert_array_equal(rounded, quantize(latents, FORMAT.levels))


def test_each_face_is_rounded_alone(readout: Readout, latents: Floats, embeddings: Floats) -> None:
    rounding = Rounding(readout, FORMAT, distortion=DISTORTION)
    together = rounding.symbols(latents, embeddings)
    alone = [rounding.symbols(latents[n : n + 1], embeddings[n : n + 1]) for n in range(FACES)]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert rounding.symbols(latents[:0], embeddings[:0]).shape == (0, *FORMAT.shape)


def test_a_value_that_is_no_number_is_an_error(
    readout: Readout, latents: Floats, embeddings: Floats
) -> None:
    latents[3, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        Rounding(readout, FORMAT, distortion=DISTORTION).symbols(latents, embeddings)
