"""What happens to training faces before a network sees them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from shared.training.faces import to_bytes
from shared.training.jpeg import jpeg
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
