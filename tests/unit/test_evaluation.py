"""Evaluation through the product's objects: LFW, validation, the commands, the record of runs."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from command_line.evaluate import app
from shared.calibration import calibrate
from shared.errors import FailedPrecondition, InvalidImage, InvalidInput
from shared.evaluation.lfw import evaluate_lfw
from shared.evaluation.lfw_files import open_lfw
from shared.evaluation.protocol import fold_accuracy
from shared.evaluation.result import weights_sha256
from shared.evaluation.validation import embed_validation, evaluate_validation
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory
from shared.training.faces import Faces, load_faces
from shared.training.split import split_faces

PEOPLE = ("Ada", "Bo", "Cy", "Di", "Ed", "Flo")
PHOTOS = 4

Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def clouds(seed: int) -> Pixels:
    """A picture of coloured clouds, (112, 112, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (14, 14, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((112, 112), Image.Resampling.BICUBIC))


def photo(person: int, number: int) -> Pixels:
    """A person's own clouds with a little noise of each photograph."""
    noise = np.random.default_rng([person, number]).normal(0, 4, (112, 112, 3))
    return np.clip(clouds(person) + noise, 0, 255).astype(np.uint8)


def write_lfw(data: Path, *, folds: int = 3, size: int = 112) -> Path:
    """A small LFW of PNG files under the names of JPEG ones, so that pixels stay exact."""
    folder = data / "lfw112"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "lfw.zip", "w") as archive:
        for person, name in enumerate(PEOPLE):
            for number in range(1, PHOTOS + 1):
                with archive.open(f"{name}/{name}_{number:04d}.jpg", "w") as member:
                    picture = Image.fromarray(photo(person, number)).resize((size, size))
                    picture.save(member, "PNG")
    lines = [f"{folds}\t2"]
    for fold in range(folds):
        one, other = PEOPLE[2 * fold], PEOPLE[2 * fold + 1]
        lines += [
            f"{one}\t1\t2",
            f"{other}\t1\t2",
            f"{one}\t1\t{other}\t1",
            f"{one}\t2\t{other}\t2",
        ]
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    return data


@pytest.fixture
def lfw(tmp_path: Path) -> Path:
    return write_lfw(tmp_path / "data")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A training cache in which the split holds all six people out."""
    names = [f"{name}/{number}.webp" for name in PEOPLE for number in range(PHOTOS)]
    pixels = np.stack([photo(p, n) for p in range(len(PEOPLE)) for n in range(PHOTOS)])
    teacher = np.repeat(np.eye(len(PEOPLE), dtype=np.float32), PHOTOS, axis=0)
    (tmp_path / "names.json").write_text(json.dumps(names))
    np.save(tmp_path / "faces.npy", pixels)
    np.save(tmp_path / "teacher.npy", np.stack([teacher, teacher], axis=1))
    return tmp_path


def test_missing_data_is_named_with_the_remedy(tiny_model: ModelDirectory, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="COMPACTFACE_DATA") as refusal:
        evaluate_lfw(tiny_model, None, tmp_path)
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
        evaluate_lfw(tiny_model, None, data)


def test_lfw_result_is_that_of_the_product_objects(tiny_model: ModelDirectory, lfw: Path) -> None:
    """Bytes and similarities are recomputed here from the columns 8 to 103 of every image."""
    result = evaluate_lfw(tiny_model, None, lfw)

    crops = np.stack([photo(p, n)[:, 8:104] for p in range(6) for n in range(1, PHOTOS + 1)])
    encoder, decoder = OnnxCropEncoder(tiny_model), MapDecoder(tiny_model)
    sizes = [len(png) for png in encoder.encode(crops)]
    assert (result.images, result.pairs, result.folds) == (24, 12, 3)
    assert result.bytes_mean == pytest.approx(np.mean(sizes))
    assert result.bytes_max == max(sizes)
    assert result.codec_id == encoder.codec_id

    plain = decoder.embed_crops(crops)
    maps = [(encoder.codec_id, decoder.unpack(encoder.codec_id, p)) for p in encoder.encode(crops)]
    compact = decoder.embed(maps)
    for probe, enrolled, score in (
        (plain, plain, result.uncompressed),
        (compact, compact, result.compressed),
        (compact, plain, result.probe_compressed),
    ):
        cosines = probe @ enrolled.T
        firsts = [PHOTOS * p for p in range(6)]
        by_fold = [
            [cosines[a, a + 1], cosines[b, b + 1], cosines[a, b], cosines[a + 1, b + 1]]
            for a, b in zip(firsts[::2], firsts[1::2], strict=True)
        ]
        same = np.tile([True, True, False, False], 3)
        accuracy, std = fold_accuracy(np.ravel(by_fold), same, folds=3)
        assert (score.accuracy, score.std) == (pytest.approx(accuracy), pytest.approx(std))


def test_fewer_folds_encode_only_their_images(tiny_model: ModelDirectory, lfw: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = evaluate_lfw(
        tiny_model, "paper", lfw, folds=2, progress=lambda done, total: seen.append((done, total))
    )
    assert (result.images, result.pairs, result.folds) == (8, 8, 2)
    assert result.operating_point == "paper"
    assert seen == [(8, 8)]


def test_each_operating_point_has_a_weights_digest_of_its_own(tiny_model: ModelDirectory) -> None:
    assert weights_sha256(tiny_model, None) == weights_sha256(tiny_model, "standard")
    assert weights_sha256(tiny_model, "standard") != weights_sha256(tiny_model, "paper")


def test_validation_embeds_every_held_out_photograph(
    tiny_model: ModelDirectory, cache: Path
) -> None:
    faces = load_faces(cache)
    split = split_faces(faces)
    embedded, identities = embed_validation(tiny_model, None, faces, split)
    assert identities.tolist() == np.repeat(np.arange(6), PHOTOS).tolist()
    assert embedded.compressed.shape == embedded.uncompressed.shape == (24, 512)
    assert embedded.map_bytes.tolist() == _map_sizes(tiny_model, faces)
    table = calibrate(
        embedded.compressed, identities, probe_codec="a" * 16, enrolled_codec="a" * 16
    )
    assert (table.identities, table.genuine_pairs) == (6, 36)


def _map_sizes(model: ModelDirectory, faces: Faces) -> list[int]:
    return [len(png) for png in OnnxCropEncoder(model).encode(faces.pixels[:, :, 8:104])]


def test_validation_scores_all_pairs_there_are(tiny_model: ModelDirectory, cache: Path) -> None:
    result = evaluate_validation(tiny_model, None, load_faces(cache))
    assert (result.dataset, result.images, result.pairs, result.folds) == (
        "validation",
        24,
        72,
        10,
    )
    assert result.uncompressed.accuracy > 0.9


def test_command_prints_the_result_and_records_the_run(
    tiny_models: Path, tiny_model: ModelDirectory, lfw: Path, tmp_path: Path
) -> None:
    arguments = ["lfw", "--models", str(tiny_models), "--report", str(tmp_path), "--threads", "1"]
    for folds in ("2", "3"):
        ran = CliRunner().invoke(
            app, [*arguments, "--folds", folds], env={"COMPACTFACE_DATA": str(lfw)}
        )
        assert ran.exit_code == 0, ran.output
        assert "bytes a face in the mean" in ran.stdout
        assert "over 24 images" in ran.stdout or folds == "2"
    runs = [json.loads(line) for line in (tmp_path / "lfw_runs.jsonl").read_text().splitlines()]
    assert [run["folds"] for run in runs] == [2, 3]
    assert runs[1]["weights_sha256"] == weights_sha256(tiny_model, None)
    assert runs[1]["compressed"]["accuracy"] > 0
    assert {"date", "command", "version"} <= runs[1].keys()


def test_validation_command_prints_the_result(tiny_models: Path, cache: Path) -> None:
    arguments = ["validation", "--cache", str(cache), "--models", str(tiny_models)]
    ran = CliRunner().invoke(app, [*arguments, "--threads", "1"])
    assert ran.exit_code == 0, ran.output
    assert "72 pairs in 10 folds" in ran.stdout


def test_the_real_list_of_pairs_fits_the_real_archive() -> None:
    data = os.environ.get("COMPACTFACE_DATA")
    if not data:
        pytest.skip("COMPACTFACE_DATA names no folder with lfw112/")
    with open_lfw(Path(data)) as files:
        assert len(files.names) == 13_233
        assert [len(fold) for fold in files.folds] == [600] * 10
        assert all(sum(pair.same for pair in fold) == 300 for fold in files.folds)
        assert next(files.batches(files.names[:3])).shape == (3, 112, 112, 3)
