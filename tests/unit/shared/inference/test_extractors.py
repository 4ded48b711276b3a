"""Extractors of other architectures: a file of somebody else's, and what it is fed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from shared.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidInput,
    InvalidModel,
    InvalidTraining,
)
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.inference.networks import load_extractor
from shared.inference.onnx_embedder import network_of_any_batch
from shared.inference.onnx_extractor import OnnxExtractor
from shared.model_directory import (
    InputNormalisation,
    ModelDirectory,
    OnnxConfig,
    Sphere20Config,
    without_carried_compnets,
    write_model_directory,
)
from shared.training.extractor_import import NetworkInput, People, import_extractor, read_people
from shared.training.face_cache import cache_faces
from shared.training.faces import load_faces
from shared.training.split import split_faces
from shared.training.teacher import Teacher, TeacherFile, cache_teacher
from tests.tiny_model import FAMILY, describe, smooth_images
from tests.tiny_onnx import SIZE, weights, write_network
from tests.tiny_readouts import readouts_of, write_with_readouts
from tests.training.invented import invented_face, write_teacher

SYMMETRIC = NetworkInput(112, 112, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("network") / "somebodys_128.onnx")


@pytest.fixture(scope="module")
def people() -> People:
    """Three photographs of each of 20 people."""
    faces = [invented_face(person, number) for person in range(20) for number in range(3)]
    return People(np.stack([np.asarray(face) for face in faces]), np.arange(60), np.arange(60) // 3)


@pytest.fixture(scope="module")
def imported(
    network: Path,
    people: People,
    tiny_model: ModelDirectory,
    tmp_path_factory: pytest.TempPathFactory,
) -> ModelDirectory:
    return import_extractor(
        network,
        SYMMETRIC,
        base=tiny_model,
        models=tmp_path_factory.mktemp("imported"),
        version="2",
        licence="CC0-1.0",
        people=people,
    )


def crops(count: int = 3) -> NDArray[np.uint8]:
    pixels = ((smooth_images(count, seed=4) + 1) * 127.5).round().byte()
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def expected(
    pictures: NDArray[np.float64], mean: tuple[float, ...], std: tuple[float, ...]
) -> NDArray[np.float64]:
    """(N, 112, 112, 3) RGB in [0, 255] as the network should embed them, written down plainly."""
    fed = ((pictures - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    return unit(np.einsum("ncij,dcij->nd", fed, weights().astype(np.float64)))


def squares(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Eight columns repeated at each edge, as teachers and judges are shown them."""
    return np.pad(pixels, ((0, 0), (0, 0), (8, 8), (0, 0)), mode="edge").astype(np.float64)


def test_codecs_stay_byte_for_byte_and_the_embedding_space_does_not(
    imported: ModelDirectory, tiny_model: ModelDirectory
) -> None:
    old, new = tiny_model.manifest, imported.manifest
    assert new.codecs == old.codecs
    kept = {name: digest for name, digest in old.files.items() if name.startswith("codecs/")}
    assert {n: d for n, d in new.files.items() if n.startswith("codecs/")} == kept
    for name in kept:
        assert (imported.path / name).read_bytes() == (tiny_model.path / name).read_bytes()
    assert new.embedding_space != old.embedding_space
    assert new.extractor.embedding_size == SIZE
    assert ModelDirectory.load(imported.path.parents[1], FAMILY, "2") == imported


def test_codecs_that_cannot_make_maps_to_calibrate_on_are_left_out(
    network: Path, people: People, tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    model = import_extractor(
        network,
        SYMMETRIC,
        base=without_carried_compnets(tiny_model, tmp_path, version="2"),
        models=tmp_path,
        version="3",
        licence="CC0-1.0",
        people=people,
    )
    assert set(model.manifest.codecs) == {"standard"}
    assert not (model.path / "codecs" / "paper").exists()


def test_maps_rounded_towards_the_other_extractor_stay_readable(
    network: Path, people: People, tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    """Cameras need no change. Those of the new version round to the nearest symbols."""
    base = write_with_readouts(tiny_model, tmp_path, readouts_of(tiny_model).to_bytes())
    model = import_extractor(
        network,
        SYMMETRIC,
        base=base,
        models=tmp_path,
        version="3",
        licence="CC0-1.0",
        people=people,
    )
    manifest, camera = model.manifest, OnnxCropEncoder(base)
    assert manifest.codecs["standard-2"].codec_id == camera.codec_id
    assert manifest.codecs["standard"].codec_id == tiny_model.codec("standard").codec_id
    assert manifest.encodable == ("standard", "paper")
    assert manifest.calibration_for(camera.codec_id, manifest.codecs["standard"].codec_id)
    decoder = MapDecoder(model)
    maps = [decoder.unpack(camera.codec_id, png) for png in camera.encode(crops())]
    seen = decoder.embed([(camera.codec_id, each) for each in maps])
    pictures = MapDecoder(base).reconstruct([(camera.codec_id, each) for each in maps])
    np.testing.assert_allclose(seen, decoder.embed_crops(pictures), atol=1e-5)


def test_it_is_calibrated_for_every_pair_of_codecs(imported: ModelDirectory) -> None:
    manifest = imported.manifest
    assert len(manifest.calibration) == 6  # of two codecs and the crop itself
    codec = manifest.codecs["standard"].codec_id
    table = manifest.calibration_for(codec, codec)
    assert (table.identities, table.genuine_pairs, table.impostor_pairs) == (20, 60, 1710)
    assert table.rows[-1].fnmr < 0.2  # invented people are told apart
    assert manifest.provenance["calibrated_on"] == {"people": 20, "photographs": 60}
    extractor = manifest.provenance["extractor"]
    assert isinstance(extractor, dict)
    assert (extractor["file"], extractor["licence"]) == ("somebodys_128.onnx", "CC0-1.0")


def test_the_network_is_shown_the_crop_padded_to_a_square(imported: ModelDirectory) -> None:
    pixels = crops()
    found = MapDecoder(imported).embed_crops(pixels)
    assert found.shape == (3, SIZE)
    wanted = expected(squares(pixels), (127.5,) * 3, (127.5,) * 3)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_network_is_shown_what_reconstruct_shows(
    imported: ModelDirectory, tiny_model: ModelDirectory
) -> None:
    """RecNet overshoots; the network was made for photographs."""
    decoder = MapDecoder(imported)
    encoder = OnnxCropEncoder(tiny_model)
    maps = [
        (encoder.codec_id, decoder.unpack(encoder.codec_id, png)) for png in encoder.encode(crops())
    ]
    seen = decoder.embed_crops(decoder.reconstruct(maps))
    np.testing.assert_allclose(decoder.embed(maps), seen, atol=1e-5)


def embed(network: Path, fed: NetworkInput, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    config = OnnxConfig(
        height=fed.height,
        width=fed.width,
        mean=fed.mean,
        std=fed.std,
        colour=fed.colour,
        mirrored=fed.mirrored,
        embedding_size=SIZE,
    )
    extractor = OnnxExtractor(network_of_any_batch(network), config, InputNormalisation(), CPU)
    scaled = torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32)) / 127.5 - 1
    return extractor.embed(scaled)


def test_mean_and_scale_are_those_of_each_colour_in_either_order(network: Path) -> None:
    mean, std = (120.0, 110.0, 100.0), (60.0, 55.0, 50.0)
    fed = replace(SYMMETRIC, mean=mean, std=std)
    pixels = crops()
    np.testing.assert_allclose(
        embed(network, fed, pixels), expected(squares(pixels), mean, std), atol=1e-4
    )
    backwards = expected(squares(pixels)[..., ::-1], mean[::-1], std[::-1])
    np.testing.assert_allclose(
        embed(network, replace(fed, colour="BGR"), pixels), backwards, atol=1e-4
    )


def test_a_mirroring_network_adds_the_mirror_image(network: Path) -> None:
    pixels = crops()
    plain, mirrored = (embed(network, SYMMETRIC, p) for p in (pixels, pixels[:, :, ::-1].copy()))
    both = embed(network, replace(SYMMETRIC, mirrored=True), pixels)
    np.testing.assert_allclose(both, unit(plain.astype(float) + mirrored), atol=1e-5)
    assert np.abs(both - plain).max() > 1e-2


def test_a_network_of_another_size_is_shown_the_crop_scaled(tmp_path: Path) -> None:
    large = write_network(tmp_path / "large.onnx", side=224)
    small = write_network(tmp_path / "small.onnx")
    fed = replace(SYMMETRIC, height=224, width=224)
    cosines = (embed(large, fed, crops()) * embed(small, SYMMETRIC, crops())).sum(1)
    assert cosines.min() > 0.99


@pytest.mark.parametrize("side", [64, 160])
def test_pictures_are_scaled_as_torch_scales_them(side: int, tmp_path: Path) -> None:
    """Where they get smaller, pixels are averaged, so that fine patterns do not alias."""
    pixels = np.random.default_rng(5).integers(0, 256, (2, 112, 96, 3), np.uint8)
    square = torch.from_numpy(squares(pixels)).permute(0, 3, 1, 2)
    wanted = interpolate(square, size=(side, side), mode="bilinear", antialias=True)
    fed = replace(SYMMETRIC, height=side, width=side)
    found = embed(write_network(tmp_path / "network.onnx", side=side), fed, pixels)
    answers = np.einsum("ncij,dcij->nd", (wanted.numpy() - 127.5) / 127.5, weights(side=side))
    np.testing.assert_allclose(found, unit(answers), atol=1e-4)


def test_other_shapes_than_a_square_or_the_crops_are_refused(
    network: Path, people: People, tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="input is 112x100") as caught:
        import_extractor(
            network,
            replace(SYMMETRIC, width=100),
            base=tiny_model,
            models=tmp_path,
            version="2",
            licence="",
            people=people,
        )
    assert caught.value.reason == "EXTRACTOR_INPUT"
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_face_networks_are_refused(
    people: People, tiny_model: ModelDirectory, tmp_path: Path, network: Path
) -> None:
    models = tmp_path / "models"
    (tmp_path / "text.onnx").write_text("no network")
    two_outputs = onnx.load(network)
    two_outputs.graph.output.append(two_outputs.graph.output[0])
    onnx.save(two_outputs, tmp_path / "two.onnx")
    write_network(tmp_path / "mixes.onnx", batches=False)
    write_network(tmp_path / "large.onnx", side=224)
    for name, words in {
        "text.onnx": "is not an ONNX file",
        "two.onnx": "1 inputs and 2 outputs",
        "mixes.onnx": "depends on the others in its batch",
        "large.onnx": "cannot embed three 112x112 pictures",
    }.items():
        with pytest.raises(InvalidModel, match=words) as caught:
            import_extractor(
                tmp_path / name,
                SYMMETRIC,
                base=tiny_model,
                models=models,
                version="2",
                licence="",
                people=people,
            )
        assert caught.value.reason == "EXTRACTOR_UNUSABLE"
    assert not models.exists()


def test_a_version_is_not_overwritten_nor_calibrated_on_strangers_alone(
    network: Path, people: People, imported: ModelDirectory
) -> None:
    strangers = replace(people, identities=np.arange(60))

    def again(version: str, people: People) -> None:
        import_extractor(
            network,
            SYMMETRIC,
            base=imported,
            models=imported.path.parents[1],
            version=version,
            licence="",
            people=people,
        )

    with pytest.raises(AlreadyExists):
        again("2", people)
    with pytest.raises(InvalidTraining) as caught:
        again("3", strangers)
    assert caught.value.reason == "TOO_FEW_FACES"


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is CUDA"
)
def test_an_onnx_runtime_without_cuda_is_named(imported: ModelDirectory) -> None:
    with pytest.raises(FailedPrecondition, match="onnxruntime-gpu") as caught:
        OnnxExtractor.of_model(imported, torch.device("cuda"))
    assert caught.value.reason == "DEVICE_MISSING"


def test_training_does_not_begin_with_somebody_elses_extractor(imported: ModelDirectory) -> None:
    with pytest.raises(InvalidModel) as caught:
        load_extractor(imported, CPU)
    assert caught.value.reason == "EXTRACTOR_NOT_OURS"


def test_a_sphere20_may_have_another_size(tmp_path: Path) -> None:
    description = describe(extractor=Sphere20Config(width=0.125, embedding_size=64))
    files = {
        "extractor.safetensors": b"",
        **{
            f"codecs/{point}/{name}": b""
            for point in description.codecs
            for name in ("compnet.safetensors", "recnet.safetensors", "compnet.onnx")
        },
    }
    model = write_model_directory(tmp_path, description=description, files=files)
    assert model.manifest.extractor.embedding_size == 64


def test_manifests_from_before_architectures_keep_their_embedding_space(tmp_path: Path) -> None:
    """The published model, with a manifest as versions before 3.1 had it in the field."""
    shipped = ModelDirectory.load(Path(__file__).parents[4] / "deploy" / "models", FAMILY)
    version = shipped.manifest.version
    folder = tmp_path / FAMILY / version
    shutil.copytree(shipped.path, folder, ignore=shutil.ignore_patterns("manifest.sha256"))
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["extractor"]["architecture"], manifest["extractor"]["embedding_size"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    model = ModelDirectory.load(tmp_path, FAMILY, version)
    assert model.manifest.extractor.architecture == "sphere20"
    assert model.manifest.embedding_space == "79b69073e5f03c0a"


def write_people(folder: Path, photographs: dict[str, int]) -> Path:
    for person, (name, count) in enumerate(photographs.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            invented_face(person, number).save(folder / name / f"{number}.png")
    return folder


def test_people_are_read_from_folders(tmp_path: Path) -> None:
    folder = write_people(tmp_path / "people", {"ada": 2, "bob": 12, "eve": 1, "unlabelled": 3})
    people = read_people(folder, tmp_path / "scratch", most=1000)
    _, counts = np.unique(people.identities, return_counts=True)
    assert sorted(counts) == [1, 2, 10]  # ten of each, and nobody unknown
    assert sum(len(batch) for batch in people.batches()) == 13
    few = read_people(folder, tmp_path / "scratch", most=2)
    assert np.bincount(few.identities).min() >= 2  # who makes a pair comes first


def test_of_a_training_cache_only_those_are_taken_who_were_held_out(tmp_path: Path) -> None:
    names = {f"person-{number}": 3 for number in range(40)}
    cache = tmp_path / "cache"
    cache_faces(write_people(tmp_path / "people", names), cache)
    teacher = write_teacher(tmp_path / "teacher.onnx")
    cache_teacher(Teacher(TeacherFile(teacher), threads=1), cache)
    people = read_people(cache, tmp_path / "scratch", most=1000)
    held_out = split_faces(load_faces(cache)).validation
    assert 0 < len(held_out) < 120
    assert people.rows.tolist() == sorted(held_out.tolist())
