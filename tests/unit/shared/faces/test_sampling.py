"""Resampling against OpenCV's, by which the faces of the training data were cut."""

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.faces import sampling


def texture(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


@pytest.mark.parametrize(("height", "width"), [(17, 17), (30, 41), (48, 48), (100, 190), (191, 60)])
def test_small_parts_are_means_of_what_their_pixels_cover(height: int, width: int) -> None:
    picture = texture(height, width)
    expected = cv2.resize(picture, (48, 48), interpolation=cv2.INTER_AREA)
    found = sampling.shrunk(picture, width=48, height=48)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_large_parts_are_close_to_it() -> None:
    picture = texture(700, 690)
    expected = cv2.resize(picture, (48, 48), interpolation=cv2.INTER_AREA)
    found = sampling.shrunk(picture, width=48, height=48)
    assert np.abs(found.astype(int) - expected).mean() < 1


@pytest.mark.parametrize("scale", [0.2, 0.43, 0.9, 1.5])
def test_whole_pictures_are_scaled_alike(scale: float) -> None:
    picture = texture(300, 400)
    width, height = round(400 * scale), round(300 * scale)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    expected = cv2.resize(picture, (width, height), interpolation=how)
    found = sampling.scaled(Image.fromarray(picture), width=width, height=height)
    assert np.abs(np.asarray(found).astype(int) - expected).mean() < 2


def test_a_transform_puts_pixels_where_it_says_with_black_around_the_picture() -> None:
    picture = texture(200, 200)
    matrix = np.array([[0.9, 0.15, -30], [-0.15, 0.9, 10]])
    expected = cv2.warpAffine(picture, matrix, (288, 336), flags=cv2.INTER_LINEAR)
    found = sampling.warped(picture, matrix, width=288, height=336)
    difference = np.abs(found.astype(int) - expected)
    assert np.percentile(difference, 99) <= 1
    assert (found[:, 200:] == 0).all()
