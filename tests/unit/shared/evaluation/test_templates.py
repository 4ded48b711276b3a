"""Embeddings in few bits."""

import numpy as np
import pytest

from shared.evaluation.templates import TEMPLATES, Template


def cosine_kept(template: Template) -> float:
    vectors = np.random.default_rng(0).normal(size=(200, 512)).astype(np.float32)
    decoded = template.decoded(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    assert np.linalg.norm(decoded, axis=1) == pytest.approx(1, abs=1e-5)
    cosines = np.sum(vectors * decoded, axis=1) / np.linalg.norm(vectors, axis=1)
    return float(np.mean(cosines))


@pytest.mark.parametrize(
    ("template", "size", "kept"),
    # Of normal numbers: sqrt(2 / pi) for signs, sqrt(1 - 0.1175) for four levels (Max, 1960).
    [*zip(TEMPLATES, (64, 128, 512), ((0.798, 0.01), (0.939, 0.005), (1.0, 0.001)), strict=True)],
)
def test_a_template_keeps_what_its_bits_can(
    template: Template, size: int, kept: tuple[float, float]
) -> None:
    cosine, tolerance = kept
    assert template.bytes(512) == size
    assert cosine_kept(template) == pytest.approx(cosine, abs=tolerance)
