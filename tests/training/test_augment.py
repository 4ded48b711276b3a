"""What happens to training faces before a network sees them."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared.training.dataset import TrainingData
from shared.training.faces import load_faces, to_bytes
from shared.training.jpeg import jpeg
from shared.training.processes import Process
from shared.training.split import split_faces
from shared.training.views import load_views
from tests.training.invented import PHOTOGRAPH


@pytest.mark.parametrize("quality", [15, 35, 60])
def test_jpeg_loses_what_a_jpeg_library_loses(quality: int) -> None:
    picture = Image.open(PHOTOGRAPH).convert("RGB").resize((96, 112))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    theirs = np.asarray(Image.open(file)).astype(float)
    original = np.asarray(picture).astype(float)
    batch = torch.from_numpy(original).permute(2, 0, 1)[None].float() / 127.5 - 1

    ours = to_bytes(jpeg(batch, torch.tensor([quality])))[0].astype(float)

    apart, lost = np.abs(ours - theirs).mean(), np.abs(theirs - original).mean()
    assert apart < 0.25 * lost


def test_each_picture_of_a_batch_has_its_own_quality() -> None:
    grey = torch.rand(2, 1, 112, 96) * 2 - 1
    batch = grey.expand(2, 3, 112, 96)

    poor, good = (jpeg(batch, torch.tensor([10, 100])) - batch).square().mean((1, 2, 3))

    assert poor > 4 * good


def test_a_batch_is_made_on_the_device(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On torch's device of shapes without numbers: whatever the host had made would not fit."""
    device = torch.device("meta")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10**12, 10**12))
    faces = load_faces(cache)
    data = TrainingData(faces, load_views(cache), split_faces(faces), mixed=0.5)

    batch = data.load(next(data.batches(16, seed=0, start=0)), Process(0, 1, device))

    assert {name: part.device for name, part in batch.items()} == dict.fromkeys(
        ("crops", "target", "label"), device
    )
    assert batch["crops"].shape == (16, 3, 112, 96)
