"""What is wrong with a face for sure, by its picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from shared.faces.align import TEMPLATE, align
from shared.faces.detect import Landmarks
from shared.faces.fitness import (
    BLURRED_BELOW,
    CUT_FROM,
    DARK_BELOW,
    outside_share,
    sure_flaws,
)

PORTRAIT = Path(__file__).parents[3] / "data/barack_obama_portrait_2012.jpg"


def test_the_share_outside_is_what_is_black_of_a_white_picture() -> None:
    white = np.full((100, 80, 3), 255, np.uint8)
    points = TEMPLATE @ np.array([[0.9, 0.1], [-0.1, 0.9]], np.float32) + np.float32((-14, 21))
    landmarks = Landmarks(*((x, y) for x, y in points.tolist()))
    crop = align(white, landmarks, template=TEMPLATE)
    share = outside_share(100, 80, landmarks, template=TEMPLATE)
    assert 0.1 < share < 0.6
    assert share == pytest.approx(np.mean(crop[..., 0] < 128), abs=0.01)
    inside = Landmarks(*((x + 200, y + 200) for x, y in TEMPLATE.tolist()))
    assert outside_share(500, 500, inside, template=TEMPLATE) == 0


def grey(level: float) -> np.ndarray:
    return np.full((112, 96, 3), level, np.uint8)


def test_what_is_outside_counts_up_to_the_limit() -> None:
    shares = (0, CUT_FROM / 2, CUT_FROM, 1)
    assert [sure_flaws(grey(120), outside=share)["outside"] for share in shares] == [0, 0.5, 1, 1]


def test_a_face_is_dark_below_the_limit_and_from_twice_the_limit_on_not_at_all() -> None:
    levels = (0, DARK_BELOW, 1.5 * DARK_BELOW, 2 * DARK_BELOW, 255)
    darkness = [sure_flaws(grey(level))["dark"] for level in levels]
    assert darkness == pytest.approx([1, 1, 0.5, 0, 0], abs=0.001)


def test_a_bright_background_does_not_lighten_a_dark_face() -> None:
    crop = grey(5)
    crop[:20] = 255
    crop[:, :14] = crop[:, -14:] = 255
    assert sure_flaws(crop)["dark"] == 1


def test_a_blurred_face_is_unfit_and_a_small_one_is_not() -> None:
    with Image.open(PORTRAIT) as opened:
        face = opened.convert("RGB").crop((165, 70, 355, 292)).resize((96, 112))
    small = face.resize((24, 28)).resize((96, 112), Image.Resampling.BILINEAR)
    blurred = face.filter(ImageFilter.GaussianBlur(4))
    clear, coarse, poor = (sure_flaws(np.asarray(x))["blur"] for x in (face, small, blurred))
    assert clear < coarse < poor == 1


def test_the_limit_of_blur_is_a_mean_laplacian() -> None:
    rows = np.arange(112)[:, None, None] % 2
    stripes = [np.broadcast_to(120 + step * rows, (112, 96, 3)) for step in (1, 2)]
    flaws = [sure_flaws(each.astype(np.uint8))["blur"] for each in stripes]
    assert BLURRED_BELOW == 2  # what rows of two neighbouring levels have
    assert flaws == [1, 0]
