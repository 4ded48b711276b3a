"""Every stage of training, on a handful of invented faces, from pictures to a model."""

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

from command_line.main import app
from shared.compact_map import MapFormat, pack, quantize
from shared.errors import InvalidTraining
from shared.model_directory import ModelDirectory
from shared.models.face_codec import FaceCompNet, make_codec
from shared.models.sphere20 import Sphere20
from shared.models.weights import weights_to_bytes
from shared.training.augment import cut_crops
from shared.training.codec import CodecRecipe, CodecTraining
from shared.training.extractor import ExtractorRecipe
from shared.training.faces import cache_faces, load_faces, to_bytes, to_tensor
from shared.training.heads import fit_heads
from shared.training.losses import feature_loss
from shared.training.patches import Patches, PatchRecipe, PatchTraining
from shared.training.processes import Process
from shared.training.rate import entropy_bytes
from shared.training.recipe import read_recipe, recipe_path
from shared.training.run_folder import CHECKPOINT_FILE, averaged_weights, read_run
from shared.training.split import NOBODY, split_faces
from shared.training.student import Student, load_student
from shared.training.teacher import Teacher
from shared.training.teacher_module import TeacherModule
from shared.training.views import load_views, render

PEOPLE, FACES_EACH = 40, 3
PHOTOGRAPH = Path(__file__).parents[1] / "data" / "eileen_collins_portrait.jpg"


def _invented_face(person: int, number: int) -> Image.Image:
    """Blurred colours that differ more between people than between a person's pictures."""
    coarse = np.random.default_rng(person).integers(0, 256, (7, 7, 3))
    noise = np.random.default_rng((person, number)).integers(-20, 21, (7, 7, 3))
    pixels = (coarse + noise).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((112, 112), Image.Resampling.BICUBIC)


def _teacher(path: Path) -> Path:
    """A linear network on an 8x8 thumbnail: near pictures have near embeddings."""
    coarse = np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32)
    weights = coarse.repeat(14, axis=2).repeat(14, axis=3) / 14**2
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 16])
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node(
            "Conv", ["input", "weights"], ["answer"], pads=[0] * 4, strides=[1, 1], group=1
        ),
        helper.make_node("Reshape", ["answer", "shape"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 16])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces of forty invented people, with a teacher's embeddings of them and of mixtures."""
    folder = tmp_path_factory.mktemp("training")
    for person in range(PEOPLE):
        for number in range(FACES_EACH):
            path = folder / "faces" / f"person{person}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            _invented_face(person, number).save(path)
    teacher = _teacher(folder / "teacher.onnx")
    _run("cache", folder / "faces", "--teacher", teacher, "--cache", folder / "cache")
    _run("views", "--teacher", teacher, "--cache", folder / "cache", "--count", 64)
    return folder / "cache"


@pytest.fixture(scope="module")
def extractor(cache: Path) -> Path:
    """A run of stage 0."""
    _run("extractor", "--smoke", "--cache", cache, "--out", cache / "extractor")
    return cache / "extractor"


def test_zip_archives_and_folders_give_the_same_faces(cache: Path, tmp_path: Path) -> None:
    source = cache.parent / "faces"
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for path in source.rglob("*.png"):
            archive.write(path, path.relative_to(source))

    left_out = cache_faces(tmp_path, tmp_path / "cache")

    assert left_out == []
    faces = load_faces(cache)
    assert json.loads((tmp_path / "cache" / "names.json").read_text()) == faces.names
    np.testing.assert_array_equal(np.load(tmp_path / "cache" / "faces.npy"), faces.pixels)


def test_photographs_are_aligned_and_those_without_a_face_left_out(tmp_path: Path) -> None:
    (tmp_path / "faces" / "somebody").mkdir(parents=True)
    (tmp_path / "faces" / "somebody" / "photo.jpg").write_bytes(PHOTOGRAPH.read_bytes())
    (tmp_path / "faces" / "somebody" / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (200, 150)).save(tmp_path / "faces" / "somebody" / "black.png")

    left_out = cache_faces(tmp_path / "faces", tmp_path / "cache")

    assert sorted(left_out) == ["somebody/black.png", "somebody/broken.jpg"]
    assert np.load(tmp_path / "cache" / "faces.npy").shape == (1, 112, 112, 3)


def test_a_folder_without_faces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidTraining, match="no picture below"):
        cache_faces(tmp_path, tmp_path / "cache")


def test_held_out_people_and_their_look_alikes_are_not_trained_on(cache: Path) -> None:
    faces = load_faces(cache)

    split = split_faces(faces)

    owners = np.array(faces.identities())
    assert len(split.held_out) > 0
    assert not set(owners[split.train]) & set(split.held_out)
    near = faces.teacher[split.train, 0] @ faces.teacher[split.validation, 0].T
    assert near.max() < 0.7
    assert (split.labels[split.validation] == NOBODY).all()


def test_views_are_kept_with_the_teachers_answer_to_their_pixels(cache: Path) -> None:
    faces, views = load_faces(cache), load_views(cache)
    pixels = to_bytes(render(views, np.arange(5), faces.pixels))

    answers = Teacher(cache.parent / "teacher.onnx", threads=1).embed(pixels)

    np.testing.assert_allclose(answers, views.teacher[:5], atol=1e-5)


def test_all_stages_lead_to_a_model_directory(cache: Path, extractor: Path) -> None:
    folder = cache.parent
    codec, classifier, joint = (folder / stage for stage in ("codec", "classifier", "joint"))
    told = ("--smoke", "--cache", cache)
    judged = ("--teacher", folder / "teacher.onnx")
    _run("codec", *told, *judged, "--extractor", extractor, "--out", codec)
    _run("classifier", *told, "--extractor", extractor, "--out", classifier)
    _run("joint", *told, *judged, "--extractor", classifier, "--codec", codec, "--out", joint)

    runs = ("--run", extractor, "--run", codec, "--run", joint)
    _run("publish", "1", *runs, "--cache", cache, "--models", folder / "models")

    model = ModelDirectory.load(folder / "models", "default", "1")
    assert set(model.manifest.codecs) == {"tiny", "small", "standard", "fine"}
    assert {path.parent.name for path in model.path.glob("codecs/*/*")} == {"fine"}
    assert set(model.manifest.provenance["stages"]) == {"extractor", "codec", "joint"}

    resumed = ("--extractor", extractor, "--codec", model.path, "--out", folder / "resumed")
    _run("joint", *told, *judged, *resumed, "--samples", 8)

    _run("publish", "2", *runs, "--carry", "1", "--cache", cache, "--models", folder / "models")
    newer = ModelDirectory.load(folder / "models", "default", "2").manifest
    camera_codec = model.codec("tiny").codec_id
    assert newer.codecs["tiny-1"].codec_id == camera_codec
    assert newer.calibration_for(camera_codec, newer.codecs["standard"].codec_id)


def test_the_ablation_tabulates_one_change_at_a_time(
    cache: Path, extractor: Path, tmp_path: Path
) -> None:
    _run(
        "ablation", "--smoke", "--cache", cache, "--extractor", extractor,
        "--teacher", cache.parent / "teacher.onnx", "--out", tmp_path / "runs",
        "--report", tmp_path,
    )  # fmt: skip

    first, second = json.loads((tmp_path / "ablation.json").read_text())
    assert (first["says"], second["says"]) == ("as it is", "no pixel loss")
    assert max(first["bytes_mean"], second["bytes_mean"]) <= 347
    for outcome in (first, second):
        assert 0.4 < outcome["before_reference"] <= 1
    without = json.loads((tmp_path / "runs" / "no-pixels" / "recipe.json").read_text())
    assert without["recipe"]["pixel_weight"] == 0
    rows = (tmp_path / "ablation.md").read_text().splitlines()[-2:]
    assert [row.split(" | ")[0] for row in rows] == ["| as it is", "| no pixel loss"]


def test_an_ablation_that_is_stopped_judges_nothing_half_trained(
    cache: Path, extractor: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        recipe_path("smoke", "ablation").read_text().replace("samples = 16", "samples = 1_000_000")
    )
    ablation = subprocess.Popen(
        [
            sys.executable, "-m", "command_line", "train", "ablation",
            "--recipe", recipe, "--cache", cache, "--extractor", extractor,
            "--teacher", cache.parent / "teacher.onnx", "--out", tmp_path / "runs",
            "--report", tmp_path,
        ],
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        run = tmp_path / "runs" / "reference"
        while not (run / CHECKPOINT_FILE).exists():
            assert ablation.poll() is None
            time.sleep(0.1)
        ablation.terminate()
        _, said = ablation.communicate(timeout=60)
    finally:
        ablation.kill()

    assert ablation.returncode == 1
    assert "TRAINING_STOPPED: stopped after step" in said
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["reference"]
    assert not (run / "outcome.json").exists()


def test_training_may_start_from_the_extractor_of_a_model(cache: Path, tmp_path: Path) -> None:
    trained = Sphere20(width=0.125)
    (tmp_path / "extractor.safetensors").write_bytes(weights_to_bytes(trained, storage="float16"))

    _run("extractor", "--smoke", "--cache", cache, "--out", tmp_path / "run",
         "--start", tmp_path / "extractor.safetensors", "--samples", 8)  # fmt: skip

    after = load_student(tmp_path / "run").extractor.state_dict()
    for name, weight in trained.state_dict().items():
        torch.testing.assert_close(after[name], weight, atol=0.02, rtol=0.02)


def test_heads_are_fitted_to_an_extractor_that_is_there_already(cache: Path) -> None:
    """This one sees thumbnails, as the teacher does; half the training faces have no label."""
    torch.manual_seed(0)
    faces = load_faces(cache)
    split = split_faces(faces)
    split.labels[split.train[::2]] = NOBODY
    student = Student(width=0.125, teacher_size=16, classes=split.classes, margin=0.35)
    thumbnail = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, 512))
    student.extractor = thumbnail  # type: ignore[assignment]

    fit_heads(student, faces, split, seed=0)

    rows = split.train
    crops = cut_crops(to_tensor(faces.pixels[rows], torch.zeros(len(rows), dtype=torch.bool)))
    with torch.no_grad():
        embeddings = functional.normalize(thumbnail(crops))
        answers = functional.normalize(student.to_teacher(embeddings))
    both = functional.normalize(torch.from_numpy(faces.teacher[rows].sum(1)))
    assert (answers * both).sum(1).mean() > 0.8
    known = split.labels[rows] != NOBODY
    nearest = (embeddings @ student.lmcl.weight.T).argmax(1).numpy()
    assert (nearest == split.labels[rows])[known].mean() > 0.9


def test_the_papers_fresh_networks_tell_pictures_apart() -> None:
    torch.manual_seed(0)
    compnet, recnet = make_codec(channels=3, widths=(64, 64, 64, 64), face_width=None)
    with torch.inference_mode():
        maps = compnet(torch.rand(8, 3, 112, 96) * 2 - 1)
        pictures = recnet(torch.rand(8, 3, 14, 12) * 2 - 1)
    for made in (maps, pictures):
        assert made.std(0).mean() > 0.05


def test_stage_one_of_the_paper_learns_pictures(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    text = recipe_path("paper", "codec").read_text()
    text = text.replace("compile = true", "compile = false").replace(
        "[64, 64, 64, 64]", "[16, 16, 16, 16]"
    )
    recipe.write_text(text.replace("batch = 20", "batch = 8"))

    _run("codec", "--photographs", PHOTOGRAPH.parent, "--recipe", recipe, "--samples", 800,
         "--out", tmp_path / "run")  # fmt: skip

    told = PatchRecipe.model_validate(read_run(tmp_path / "run")["recipe"])
    trained = PatchTraining(told).eval()
    trained.load_state_dict(averaged_weights(tmp_path / "run"))
    patches = Patches(PHOTOGRAPH.parent, told).load(
        np.arange(16), Process(rank=0, count=1, device=torch.device("cpu"))
    )
    with torch.inference_mode():
        error = trained(patches)["mse"]
    grey = (patches["patches"] / 2).var()
    assert error < 0.5 * grey


def test_a_run_that_was_stopped_ends_where_it_would_have_ended(cache: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    # With a rate that never falls, half a run is the first half of a whole one.
    recipe.write_text(
        recipe_path("smoke", "extractor").read_text().replace("decay = 0.8", "decay = 0.0")
    )
    for out, samples in (("whole", 32), ("parts", 16), ("parts", 32)):
        _run("extractor", "--recipe", recipe, "--cache", cache, "--out", tmp_path / out,
             "--samples", samples)  # fmt: skip

    whole, parts = (
        torch.load(tmp_path / out / CHECKPOINT_FILE, weights_only=True)
        for out in ("whole", "parts")
    )

    assert whole["step"] == parts["step"] == 4
    for name, weight in whole["average"].items():
        torch.testing.assert_close(parts["average"][name], weight)


def test_a_run_goes_on_only_with_the_recipe_it_was_begun_with(
    cache: Path, extractor: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    text = recipe_path("smoke", "extractor").read_text()
    recipe.write_text(text.replace("relation_weight = 8.0", "relation_weight = 4.0"))

    result = CliRunner().invoke(
        app, ["train", "extractor", "--recipe", str(recipe), "--cache", str(cache),
              "--out", str(extractor)]
    )  # fmt: skip

    assert result.exit_code == 1
    assert "recipe.relation_weight = 8.0, now it is 4.0" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("margin = 0.35", "margin = 1.35"), "margin: .*less than 1; got 1.35"),
        (("margin = 0.35", "marge = 0.35"), "margin: Field required"),
        (("seed = 1", "seed = 1\nsed = 2"), "schedule.sed: Extra inputs are not permitted"),
        (("[schedule]", "[schedule"), "recipe.toml: "),
    ],
)
def test_a_recipe_that_is_wrong_is_refused_by_the_name_of_the_field(
    change: tuple[str, str], complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_path("default", "extractor").read_text().replace(*change))

    with pytest.raises(InvalidTraining, match=complaint):
        read_recipe(ExtractorRecipe, path)


def test_the_papers_networks_send_whole_maps(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    text = recipe_path("smoke", "codec").read_text()
    path.write_text(text.replace("face_width = 0.125", ""))

    with pytest.raises(InvalidTraining, match="RecNet needs the whole map"):
        read_recipe(CodecRecipe, path)


def test_a_profile_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InvalidTraining, match="known: default, paper, paper-cpu, smoke"):
        recipe_path("fast", "codec")


def test_the_rate_term_estimates_the_bytes_of_real_maps() -> None:
    fmt = MapFormat(channels=6, height=14, width=12, levels=32, layout="row")
    for spread in (0.05, 0.1, 0.3):
        drawn = torch.randn(32, 6, 14, 12, generator=torch.Generator().manual_seed(0))
        latent = (drawn * spread).clamp(-1, 1)
        maps = [pack(quantize(one, 32), fmt) for one in latent.numpy()]

        estimate = float(entropy_bytes(latent, levels=32))

        assert estimate == pytest.approx(np.mean([len(png) for png in maps]), rel=0.08)


def test_the_rate_term_pulls_symbols_together() -> None:
    latent = (torch.randn(8, 6, 14, 12) * 0.3).clamp(-1, 1).requires_grad_()
    before = entropy_bytes(latent, levels=32)
    (slope,) = torch.autograd.grad(before, latent)

    after = entropy_bytes((latent - 0.02 * slope.sign()).clamp(-1, 1), levels=32)

    assert after < before


def test_several_processes_train_together(cache: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "command_line", "train", "extractor", "--smoke", "--cache", str(cache),
        "--out", str(tmp_path / "run"),
    ]  # fmt: skip

    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=110)

    assert torch.load(tmp_path / "run" / CHECKPOINT_FILE, weights_only=True)["step"] == 2


def test_a_recipe_that_asks_the_teacher_needs_to_know_where_it_is(
    cache: Path, extractor: Path, tmp_path: Path
) -> None:
    result = CliRunner().invoke(
        app, ["train", "codec", "--smoke", "--cache", str(cache), "--extractor", str(extractor),
              "--out", str(tmp_path / "run")]
    )  # fmt: skip

    assert result.exit_code == 1
    assert "name the file by --teacher" in " ".join(result.output.split())


def test_the_teacher_that_gradients_pass_through_says_what_its_file_says(cache: Path) -> None:
    path = cache.parent / "teacher.onnx"
    crops = load_faces(cache).pixels[:5, :, 8:104]
    padded = np.pad(crops, ((0, 0), (0, 0), (8, 8), (0, 0)), mode="edge")

    pictures = (torch.from_numpy(crops.copy()).permute(0, 3, 1, 2) / 127.5 - 1).requires_grad_()
    answers = functional.normalize(TeacherModule(path)(pictures).embedding)
    answers.sum().backward()

    expected = Teacher(path, threads=1).embed(padded)
    np.testing.assert_allclose(answers.detach().numpy(), expected, atol=1e-5)
    assert pictures.grad is not None
    assert pictures.grad.abs().sum() > 0


def test_the_teachers_inner_layers_see_how_far_a_picture_is_from_another(tmp_path: Path) -> None:
    """Of four layers all but the second shrink; the first of them is given the picture itself."""
    random = np.random.default_rng(0)
    layers = [(8, 3, 3, 2), (8, 8, 3, 1), (16, 8, 3, 2), (4, 16, 28, 1)]
    names = ["input", "half", "same", "quarter", "output"]
    nodes, weights = [], []
    for number, (out, into, kernel, stride) in enumerate(layers):
        weight = random.normal(size=(out, into, kernel, kernel)).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(weight, f"weights{number}"))
        margin = [kernel // 2] * 4 if kernel == 3 else [0] * 4
        nodes.append(
            helper.make_node(
                "Conv", [names[number], f"weights{number}"], [names[number + 1]],
                pads=margin, strides=[stride] * 2, group=1,
            )
        )  # fmt: skip
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("input", "output")]
    graph = helper.make_graph(nodes, "teacher", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph), tmp_path / "teacher.onnx")
    teacher = TeacherModule(tmp_path / "teacher.onnx")
    face = torch.rand(2, 3, 112, 96) * 2 - 1

    seen = teacher(face).features
    near, far = (teacher(face + noise * torch.randn_like(face)).features for noise in (0.1, 0.5))

    assert [tuple(layer.shape[1:]) for layer in seen] == [(8, 56, 56), (16, 28, 28)]
    assert feature_loss(seen, seen) == 0
    assert 0 < feature_loss(near, seen) < feature_loss(far, seen)


def test_a_teacher_with_an_unknown_layer_is_refused_by_its_name(tmp_path: Path) -> None:
    node = helper.make_node("Softmax", ["input"], ["output"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in node.input]
    graph = helper.make_graph([node], "teacher", values, values)
    onnx.save(helper.make_model(graph), tmp_path / "teacher.onnx")

    with pytest.raises(InvalidTraining, match="a layer Softmax; supported are Conv"):
        TeacherModule(tmp_path / "teacher.onnx")


def test_compnet_begins_with_what_the_extractor_knows(extractor: Path) -> None:
    """Identities are as near to one another as the extractor's answers to the teacher."""
    student = load_student(extractor)
    recipe = read_recipe(CodecRecipe, recipe_path("smoke", "codec"))
    compnet = CodecTraining(recipe, student).compnet
    assert isinstance(compnet, FaceCompNet)
    crops = torch.rand(6, 3, 112, 96) * 2 - 1
    with torch.no_grad():
        # The last numbers answer to nothing: this teacher has 16, CompNet has room for 128.
        compnet.identity.embed.weight[16:] = 0
        compnet.identity.embed.bias[16:] = 0
        identities, _ = compnet.identity(crops)
        answers = functional.normalize(student.to_teacher(student.extractor(crops)))
        mirrored = functional.normalize(student.to_teacher(student.extractor(crops.flip(-1))))
    expected = functional.normalize(answers + mirrored)
    torch.testing.assert_close(identities @ identities.T, expected @ expected.T, atol=1e-4, rtol=0)
