"""Stages 1 and 3: what the codecs begin with, learn, and are told of their size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

from command_line.main import app
from shared.codec.compact_map import MapFormat, pack, quantize
from shared.models.face_codec import FaceCompNet, make_codec
from shared.training.codec import CodecTraining
from shared.training.codec_recipe import CodecRecipe
from shared.training.patches import Patches, PatchRecipe, PatchTraining
from shared.training.processes import Process
from shared.training.rate import entropy_bytes
from shared.training.recipe import read_recipe, recipe_path
from shared.training.run_folder import averaged_weights, read_run
from shared.training.student import load_student
from tests.training.invented import PHOTOGRAPH, run_train


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

    run_train(
        "codec", "--photographs", PHOTOGRAPH.parent, "--recipe", recipe, "--samples", 800,
        "--out", tmp_path / "run",
    )  # fmt: skip

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


def test_a_recipe_that_asks_the_teacher_needs_to_know_where_it_is(
    cache: Path, extractor: Path, tmp_path: Path
) -> None:
    result = CliRunner().invoke(
        app, ["train", "codec", "--smoke", "--cache", str(cache), "--extractor", str(extractor),
              "--out", str(tmp_path / "run")]
    )  # fmt: skip

    assert result.exit_code == 1
    assert "needs a teacher; use --teacher" in " ".join(result.output.split())


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
