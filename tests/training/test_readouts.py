"""A readout brings the embedding of a map nearer to that of the uncompressed face."""

from pathlib import Path

import numpy as np
import pytest

from shared.errors import InvalidModel
from shared.evaluation.pipeline import Pipeline, no_progress
from shared.model_directory import (
    READOUT_FILE,
    UNCOMPRESSED,
    ModelDirectory,
    without_carried_compnets,
    write_model_directory,
)
from shared.training.faces import load_faces
from shared.training.readouts import fit_readouts
from shared.training.rewrite import add_readouts


def test_maps_say_more_than_their_pictures(
    cache: Path, tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    faces = load_faces(cache)
    rows = np.arange(len(faces.names))
    readouts = fit_readouts(tiny_model, faces, rows[::2])
    manifest = tiny_model.manifest
    owner = manifest.networks_of(manifest.default_point)
    own = {point for point in manifest.codecs if manifest.networks_of(point) == owner}
    assert {*readouts.points} == own != {*manifest.codecs}
    files = {name: (tiny_model.path / name).read_bytes() for name in manifest.files}
    model = write_model_directory(
        tmp_path,
        description=manifest.model_copy(update={"version": "2", "readouts": readouts.points}),
        files=files | {READOUT_FILE: readouts.to_bytes()},
    )
    near = []
    for each in (tiny_model, model):
        pipeline = Pipeline(each, ["standard"])
        seen = pipeline.embed(
            faces.batches(rows[1::2], 64), total=len(rows) // 2, progress=no_progress
        ).own
        near.append(float(np.einsum("nd,nd->n", seen["standard"], seen[UNCOMPRESSED]).mean()))
    before, after = near
    assert 1 - after < 0.9 * (1 - before)


def test_a_model_without_all_compnets_gets_none(
    cache: Path, tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    """It could not be calibrated."""
    slim = without_carried_compnets(tiny_model, tmp_path, version="2")
    with pytest.raises(InvalidModel) as refused:
        add_readouts(slim, faces=load_faces(cache), models=tmp_path, version="3", threads=1)
    assert refused.value.reason == "DECODE_ONLY"
    assert not (tmp_path / "default" / "3").exists()
