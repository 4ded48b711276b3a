"""What is taken off embeddings is what spoilt faces have in common."""

from pathlib import Path

import numpy as np
import pytest

from shared.errors import InvalidModel
from shared.evaluation.coded import Coder
from shared.evaluation.spoilings import RANDOM
from shared.model_directory import ModelDirectory, without_carried_compnets
from shared.training.faces import load_faces
from shared.training.nuisances import DIRECTIONS, fit_nuisances
from shared.training.rewrite import remove_nuisances


def test_faces_spoilt_alike_have_less_in_common(cache: Path, tiny_model: ModelDirectory) -> None:
    faces = load_faces(cache)
    rows = np.arange(len(faces.names))
    fitted_on, others = rows[::2], rows[1::2]
    nuisances = fit_nuisances(tiny_model, faces, fitted_on)
    assert nuisances.count == DIRECTIONS
    coder = Coder(tiny_model)
    for kind in ("unspoilt", "mask", "backlight"):
        draw = RANDOM[kind].draw
        pictures = np.stack([draw(faces.pixels[r], np.random.default_rng(r)) for r in others])
        vectors = coder.code([pictures]).vectors
        before = np.linalg.norm(vectors.mean(0))
        after = np.linalg.norm(nuisances.removed_from(vectors).mean(0))
        assert after < 0.7 * before, kind


def test_a_model_is_not_calibrated_for_half_of_its_codecs(
    cache: Path, tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    """A gallery with maps of the others would be without thresholds."""
    slim = without_carried_compnets(tiny_model, tmp_path, version="2")
    faces = load_faces(cache)
    with pytest.raises(InvalidModel) as refused:
        remove_nuisances(slim, faces=faces, models=tmp_path, version="3", threads=1)
    assert refused.value.reason == "DECODE_ONLY"
    assert not (tmp_path / "default" / "3").exists()
