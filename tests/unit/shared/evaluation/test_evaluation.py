"""Evaluation through the product's objects: LFW, validation, the commands, the record of runs."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from command_line.evaluate import app
from shared.errors import FailedPrecondition, InvalidImage, InvalidInput, InvalidModel
from shared.evaluation.cache import Cache
from shared.evaluation.lfw import Lfw, evaluate_lfw
from shared.evaluation.lfw_files import open_lfw
from shared.evaluation.names import REFERENCE
from shared.evaluation.panel import open_panel
from shared.evaluation.pipeline import Pipeline, no_progress
from shared.evaluation.protocol import decide
from shared.evaluation.result import Result
from shared.evaluation.unquantized import UnquantizedPipeline
from shared.evaluation.validation import embed_validation, evaluate_validation
from shared.evaluation.weights import weights_sha256
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory, Sphere20Config
from shared.training.export import export_model
from shared.training.faces import load_faces
from shared.training.split import split_faces
from tests.tiny_lfw import PHOTOS, photo, photos, write_lfw
from tests.tiny_model import WIDTH, describe, tiny_networks


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def lfw(tmp_path: Path) -> Path:
    return write_lfw(tmp_path / "data")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A training cache of fifteen people, of whom the split holds at least three out."""
    people = range(15)
    names = [f"{person:02}/{number}.webp" for person in people for number in range(PHOTOS)]
    pixels = np.stack([photo(person, number) for person in people for number in range(PHOTOS)])
    teacher = np.repeat(np.eye(len(people), dtype=np.float32), PHOTOS, axis=0)
    (tmp_path / "names.json").write_text(json.dumps(names))
    np.save(tmp_path / "faces.npy", pixels)
    np.save(tmp_path / "teacher.npy", np.stack([teacher, teacher], axis=1))
    return tmp_path


def evaluate(model: ModelDirectory, data: Path, **options: Any) -> tuple[Result, Lfw]:
    return evaluate_lfw(model, Pipeline(model), data, **options)


def test_missing_data_is_named_with_the_remedy(tiny_model: ModelDirectory, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="COMPACTFACE_DATA") as refusal:
        evaluate(tiny_model, tmp_path)
    assert refusal.value.reason == "EVALUATION_DATA_MISSING"


def test_a_pair_of_an_absent_image_is_refused(lfw: Path) -> None:
    (lfw / "lfw112/pairs.txt").write_text("1\t1\nAda\t1\t9\nAda\t1\tBo\t1\n")
    with pytest.raises(InvalidInput, match=r"Ada_0009\.jpg"), open_lfw(lfw):
        pass


def test_an_archive_that_is_none_is_refused(lfw: Path) -> None:
    (lfw / "lfw112/lfw.zip").write_bytes(b"no archive")
    with pytest.raises(InvalidInput, match="not a zip archive"), open_lfw(lfw):
        pass


def test_faces_of_another_size_are_refused(tiny_model: ModelDirectory, tmp_path: Path) -> None:
    data = write_lfw(tmp_path / "small", size=100)
    with pytest.raises(InvalidImage, match="100x100 pixels; aligned faces are 112x112"):
        evaluate(tiny_model, data)


def test_every_probe_meets_every_enrolment(tiny_model: ModelDirectory, lfw: Path) -> None:
    """Bytes and similarities are recomputed here from the columns 8 to 103 of every image."""
    result, faces = evaluate(tiny_model, lfw)

    assert (result.images, result.pairs, result.folds) == (24, 12, 3)
    assert faces.people.tolist() == np.repeat(np.arange(6), PHOTOS).tolist()
    crops = photos()[:, :, 8:104]
    decoder = MapDecoder(tiny_model)
    vectors = {"uncompressed": decoder.embed_crops(crops)}
    for point in ("standard", "paper"):
        encoder = OnnxCropEncoder(tiny_model, point)
        files = encoder.encode(crops)
        sizes = [len(png) for png in files]
        assert result.points[point].bytes_mean == pytest.approx(np.mean(sizes))
        assert result.points[point].bytes_max == max(sizes)
        assert result.points[point].codec_id == encoder.codec_id
        codec_id = encoder.codec_id
        vectors[point] = decoder.embed([(codec_id, decoder.unpack(codec_id, f)) for f in files])

    cells = {(cell.probe, cell.enrolled): cell.score for cell in result.cells}
    assert len(cells) == 9
    for (probe, enrolled), score in cells.items():
        cosines = vectors[probe] @ vectors[enrolled].T
        firsts = [PHOTOS * p for p in range(6)]
        by_fold = [
            [cosines[a, a + 1], cosines[b, b + 1], cosines[a, b], cosines[a + 1, b + 1]]
            for a, b in zip(firsts[::2], firsts[1::2], strict=True)
        ]
        same = np.tile([True, True, False, False], 3)
        accuracies = decide(np.ravel(by_fold), same, folds=3).of_folds
        assert score.accuracy == pytest.approx(accuracies.mean())
        assert score.std == pytest.approx(accuracies.std())


def test_fewer_folds_encode_only_their_images(tiny_model: ModelDirectory, lfw: Path) -> None:
    seen: list[tuple[int, int]] = []
    result, _ = evaluate_lfw(
        tiny_model,
        Pipeline(tiny_model, ["paper"]),
        lfw,
        folds=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (result.images, result.pairs, result.folds) == (8, 8, 2)
    assert list(result.points) == ["paper"]
    assert seen == [(8, 8)]


def test_other_judges_see_crops_and_reconstructions(tmp_path: Path) -> None:
    """The own extractor, let in as if it were another, agrees with itself up to 8-bit pixels."""
    extractor, codecs = tiny_networks()
    description = describe(extractor=Sphere20Config(width=WIDTH, mirrored=True))
    model = export_model(tmp_path, description=description, extractor=extractor, codecs=codecs)
    panel = open_panel(reference=model.extractor_path, unseen=None, threads=1)
    embedded = Pipeline(model, panel=panel).embed_batch(photos()[:3])
    assert embedded.vectors.keys() == {"own", REFERENCE}
    for form in ("uncompressed", "standard", "paper"):
        own, other = embedded.own[form], embedded.vectors[REFERENCE][form]
        assert np.einsum("nd,nd->n", own, other).min() > 0.99


def test_a_file_without_a_sphere20_is_no_reference(tiny_model: ModelDirectory) -> None:
    compnet = tiny_model.codec_path(None, "compnet.safetensors")
    with pytest.raises(InvalidModel, match="holds no sphere20"):
        open_panel(reference=compnet, unseen=None, threads=1)


def test_a_kept_batch_is_not_embedded_again(tiny_model: ModelDirectory, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "kept")
    first = Pipeline(tiny_model, cache=cache).embed_batch(photos()[:2])
    (kept,) = cache.folder.glob("*.npz") if cache.folder else ()
    with np.load(kept) as arrays:
        marked = {name: arrays[name] for name in arrays.files} | {"own/standard": np.zeros((2, 8))}
    np.savez(kept, **marked)

    again = Pipeline(tiny_model, cache=cache).embed_batch(photos()[:2])
    assert not again.own["standard"].any()
    assert np.array_equal(again.own["paper"], first.own["paper"])
    assert again.map_bytes["paper"].tolist() == first.map_bytes["paper"].tolist()
    assert Pipeline(tiny_model, cache=cache).embed_batch(photos()[1:3]).own["standard"].any()
    assert (
        Pipeline(tiny_model, ["standard"], cache=cache)
        .embed_batch(photos()[:2])
        .own["standard"]
        .any()
    )


def test_without_rounding_embeddings_come_closer_to_the_crop(tiny_model: ModelDirectory) -> None:
    rounded = Pipeline(tiny_model, ["standard"]).embed_batch(photos()).own
    unrounded = UnquantizedPipeline(tiny_model, "standard").embed(
        [photos()], total=24, progress=no_progress
    )
    crop = rounded["uncompressed"]
    assert np.allclose(np.linalg.norm(unrounded, axis=1), 1, atol=1e-5)
    assert (crop * unrounded).sum(1).mean() > (crop * rounded["standard"]).sum(1).mean()


def test_each_operating_point_has_a_weights_digest_of_its_own(tiny_model: ModelDirectory) -> None:
    assert weights_sha256(tiny_model, None) == weights_sha256(tiny_model, "standard")
    assert weights_sha256(tiny_model, "standard") != weights_sha256(tiny_model, "paper")


def test_validation_embeds_every_held_out_photograph(
    tiny_model: ModelDirectory, cache: Path
) -> None:
    faces = load_faces(cache)
    split = split_faces(faces)
    held_out = len(split.held_out)
    embedded, identities = embed_validation(tiny_model, faces, split)
    assert held_out >= 3
    assert identities.tolist() == np.repeat(np.arange(held_out), PHOTOS).tolist()
    assert [vectors.shape for vectors in embedded.own.values()] == [(4 * held_out, 512)] * 3
    files = OnnxCropEncoder(tiny_model).encode(faces.pixels[split.validation][:, :, 8:104])
    assert embedded.map_bytes["standard"].tolist() == [len(png) for png in files]


def test_validation_scores_all_pairs_there_are(tiny_model: ModelDirectory, cache: Path) -> None:
    faces = load_faces(cache)
    result = evaluate_validation(tiny_model, faces, points=["standard"])
    held_out = len(split_faces(faces).held_out)
    assert (result.dataset, result.images, result.folds) == ("validation", 4 * held_out, 10)
    assert result.pairs == 12 * held_out
    assert [(cell.probe, cell.enrolled) for cell in result.cells] == [
        ("uncompressed", "uncompressed"),
        ("uncompressed", "standard"),
        ("standard", "uncompressed"),
        ("standard", "standard"),
    ]
    assert result.cells[0].score.accuracy > 0.9


def test_command_prints_the_result_and_records_the_run(
    tiny_models: Path, tiny_model: ModelDirectory, lfw: Path, tmp_path: Path
) -> None:
    arguments = ["lfw", "--models", str(tiny_models), "--report", str(tmp_path), "--threads", "1"]
    for folds in ("2", "3"):
        ran = CliRunner().invoke(
            app, [*arguments, "--folds", folds], env={"COMPACTFACE_DATA": str(lfw)}
        )
        assert ran.exit_code == 0, ran.output
        assert "bytes per face on average" in ran.stdout
        assert "over 24 images" in ran.stdout or folds == "2"
    runs = [json.loads(line) for line in (tmp_path / "lfw_runs.jsonl").read_text().splitlines()]
    assert [run["folds"] for run in runs] == [2, 3]
    assert runs[1]["points"]["standard"]["weights_sha256"] == weights_sha256(tiny_model, None)
    assert runs[1]["cells"][0]["score"]["accuracy"] > 0
    assert {"date", "command", "version"} <= runs[1].keys()


def test_validation_command_prints_the_result(tiny_models: Path, cache: Path) -> None:
    arguments = ["validation", "--cache", str(cache), "--models", str(tiny_models)]
    ran = CliRunner().invoke(app, [*arguments, "--threads", "1"])
    assert ran.exit_code == 0, ran.output
    assert "pairs in 10 folds" in ran.stdout


def test_the_real_list_of_pairs_fits_the_real_archive() -> None:
    data = os.environ.get("COMPACTFACE_DATA")
    if not data:
        pytest.skip("COMPACTFACE_DATA names no folder with lfw112/")
    with open_lfw(Path(data)) as files:
        assert len(files.names) == 13_233
        assert [len(fold) for fold in files.folds] == [600] * 10
        assert all(sum(pair.same for pair in fold) == 300 for fold in files.folds)
        assert next(files.batches(files.names[:3])).shape == (3, 112, 112, 3)
