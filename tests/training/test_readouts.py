"""A readout brings the embedding of a map nearer to that of the uncompressed face."""

from pathlib import Path

import numpy as np
import pytest

from shared.errors import InvalidModel, InvalidTraining
from shared.evaluation.pipeline import Pipeline, no_progress
from shared.model_directory import (
    UNCOMPRESSED,
    ModelDirectory,
    without_carried_compnets,
    write_model_directory,
)
from shared.training.faces import Faces
from shared.training.rewrite import add_readouts, remove_nuisances
from shared.training.split import split_faces
from tests.training.invented import invented_face

PEOPLE = 300


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Two pictures each of more people than a map has symbols for."""
    each = [(person, number) for person in range(PEOPLE) for number in range(2)]
    pixels = np.stack([np.asarray(invented_face(*both)) for both in each])
    strangers = np.random.default_rng(0).normal(size=(PEOPLE, 1, 64)).astype(np.float32)
    strangers /= np.linalg.norm(strangers, axis=2, keepdims=True)
    return Faces(
        names=[f"person{person}/{number}.png" for person, number in each],
        pixels=pixels,
        teacher=strangers.repeat(2, axis=0).repeat(2, axis=1),
        yaw=np.zeros(len(each), np.float32),
    )


@pytest.fixture
def plain(tiny_model: ModelDirectory, tmp_path: Path) -> ModelDirectory:
    """The tiny model with maps of 252 symbols."""
    codecs = dict(tiny_model.manifest.codecs)
    codecs["standard"] = codecs["standard"].model_copy(update={"spared": 756})
    description = tiny_model.manifest.model_copy(update={"codecs": codecs})
    files = {name: (tiny_model.path / name).read_bytes() for name in tiny_model.manifest.files}
    return write_model_directory(tmp_path, description=description, files=files)


@pytest.fixture
def model(faces: Faces, plain: ModelDirectory, tmp_path: Path) -> ModelDirectory:
    return add_readouts(plain, faces=faces, models=tmp_path, version="2", threads=1)


def test_maps_say_more_than_their_pictures(
    faces: Faces, plain: ModelDirectory, model: ModelDirectory
) -> None:
    """Of people whom the readout has not seen."""
    manifest = plain.manifest
    owner = manifest.networks_of(manifest.default_point)
    own = {point for point in manifest.codecs if manifest.networks_of(point) == owner}
    assert {*model.manifest.readouts} == own != {*manifest.codecs}
    rows = split_faces(faces).validation
    near = []
    for each in (plain, model):
        pipeline = Pipeline(each, ["standard"])
        seen = pipeline.embed(faces.batches(rows, 64), total=len(rows), progress=no_progress).own
        near.append(float(np.einsum("nd,nd->n", seen["standard"], seen[UNCOMPRESSED]).mean()))
    before, after = near
    assert 1 - after < 0.9 * (1 - before)


def test_maps_from_before_stay_readable_and_comparable(
    plain: ModelDirectory, model: ModelDirectory
) -> None:
    manifest = model.manifest
    for point in manifest.readouts:
        before = plain.codec(point).codec_id
        assert manifest.codecs[f"{point}-1"].codec_id == before
        assert manifest.codecs[point].codec_id != before
        assert manifest.calibration_for(before, manifest.codecs[point].codec_id)
    others = {*plain.manifest.codecs} - {*manifest.readouts}
    assert all(manifest.codecs[p].codec_id == plain.codec(p).codec_id for p in others)


@pytest.mark.parametrize("rewrite", [add_readouts, remove_nuisances])
def test_a_model_that_has_readouts_is_not_rewritten(
    faces: Faces, model: ModelDirectory, tmp_path: Path, rewrite: type
) -> None:
    """Its cameras would round otherwise under the same codec id."""
    with pytest.raises(InvalidTraining) as refused:
        rewrite(model, faces=faces, models=tmp_path, version="3", threads=1)
    assert refused.value.reason == "HAS_READOUTS"


def test_a_model_without_all_compnets_gets_none(
    faces: Faces, tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    """It could not be calibrated."""
    slim = without_carried_compnets(tiny_model, tmp_path, version="2")
    with pytest.raises(InvalidModel) as refused:
        add_readouts(slim, faces=faces, models=tmp_path, version="3", threads=1)
    assert refused.value.reason == "DECODE_ONLY"
    assert not (tmp_path / "default" / "3").exists()
