"""A readout brings the embedding of a map nearer to that of the uncompressed face."""

from pathlib import Path

import numpy as np
import pytest

from shared.codec.compact_map import dequantize
from shared.errors import InvalidModel, InvalidTraining
from shared.evaluation.pipeline import Pipeline, crops_of, no_progress
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.inference.readouts import Readouts
from shared.inference.torch_crop_encoder import TorchCropEncoder
from shared.model_directory import (
    UNCOMPRESSED,
    ModelDirectory,
    without_carried_compnets,
    write_model_directory,
)
from shared.training.extractor_import import NetworkInput, People, import_extractor
from shared.training.faces import Faces
from shared.training.rewrite import add_readouts, remove_nuisances, renew_uses
from shared.training.split import split_faces
from tests.tiny_onnx import write_network
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


def test_a_forged_map_is_heard_less_often_than_an_honest_one(
    faces: Faces, model: ModelDirectory
) -> None:
    """It shows one person, and its symbols are rounded towards another."""
    camera = OnnxCropEncoder(model, "standard")
    crops = crops_of(faces.pixels[split_faces(faces).validation])
    latents, embeddings = camera.latents(crops), camera.embeddings(crops)
    assert embeddings is not None
    readouts = Readouts.of_model(model)
    assert readouts is not None
    decoder = MapDecoder(model)
    heard = []
    for towards in (embeddings, np.roll(embeddings, 2, axis=0)):
        symbols = camera.rounded(latents, towards)
        pictures = decoder.reconstruct([(camera.codec_id, each) for each in symbols])
        read = readouts.of_points["standard"].estimate(dequantize(symbols, camera.map_format))
        read /= np.linalg.norm(read, axis=1, keepdims=True)
        agreement = np.einsum("nd,nd->n", decoder.embed_crops(pictures), read)
        heard.append(np.mean(agreement >= readouts.uses["standard"].agreement))
    honest, forged = heard
    assert honest > 0.9
    assert forged < honest - 0.1


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


def test_they_are_used_anew_and_cameras_stay_as_they_are(
    faces: Faces, model: ModelDirectory, tmp_path: Path
) -> None:
    """As of a model of older software, which heard whatever a map said."""
    before = model.manifest
    deaf = {
        point: use.model_copy(update={"share": 0.01, "agreement": -1.0})
        for point, use in before.readouts.items()
    }
    files = {name: (model.path / name).read_bytes() for name in before.files}
    description = before.model_copy(update={"version": "2.1", "readouts": deaf})
    older = write_model_directory(tmp_path, description=description, files=files)
    after = renew_uses(older, faces=faces, models=tmp_path, version="2.2", threads=1).manifest
    assert after.readouts == before.readouts
    assert after.codecs == older.manifest.codecs
    assert after.embedding_space == before.embedding_space != older.manifest.embedding_space
    assert {t.probe_codec for t in after.calibration} == {t.probe_codec for t in before.calibration}


def test_what_a_model_lacks_is_not_used_anew(
    faces: Faces, plain: ModelDirectory, tmp_path: Path
) -> None:
    with pytest.raises(InvalidTraining) as refused:
        renew_uses(plain, faces=faces, models=tmp_path, version="3", threads=1)
    assert refused.value.reason == "NO_READOUTS"


def test_cameras_round_towards_an_imported_extractor(
    faces: Faces, plain: ModelDirectory, tmp_path: Path
) -> None:
    """They compute its file; maps of cameras that do not stay readable."""
    everyone = [int(name.split("/")[0].removeprefix("person")) for name in faces.names]
    imported = import_extractor(
        write_network(tmp_path / "theirs.onnx"),
        NetworkInput(112, 112, (127.5,) * 3, (127.5,) * 3, mirrored=True),
        base=plain,
        models=tmp_path,
        version="2",
        licence="CC0-1.0",
        people=People(faces.pixels, np.arange(len(everyone)), np.array(everyone)),
    )
    model = add_readouts(imported, faces=faces, models=tmp_path, version="3", threads=1)
    manifest = model.manifest
    assert manifest.encodable == ("standard", "paper")
    assert manifest.codecs["standard-2"].codec_id == imported.codec("standard").codec_id
    assert manifest.codecs["standard"].codec_id != imported.codec("standard").codec_id
    assert "camera_extractor.onnx" not in manifest.files

    crops = crops_of(faces.pixels[split_faces(faces).validation])
    camera, older = OnnxCropEncoder(model), OnnxCropEncoder(imported)
    assert camera.extractor == model.extractor_path
    maps = camera.symbols(crops)
    assert (maps != older.symbols(crops)).any()
    np.testing.assert_array_equal(maps, TorchCropEncoder(model).symbols(crops))
    decoder = MapDecoder(model)
    wanted = decoder.embed_crops(crops)
    embeddings = camera.embeddings(crops)
    assert embeddings is not None
    np.testing.assert_allclose(embeddings, wanted, atol=1e-4)
    near = [
        float(np.einsum("nd,nd->n", decoder.embed([(c.codec_id, m) for m in each]), wanted).mean())
        for c, each in ((camera, maps), (older, older.symbols(crops)))
    ]
    after, before = near
    assert 1 - after < 0.9 * (1 - before)


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
