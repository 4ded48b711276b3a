"""Alignment: the transform, the crop, and crops that come aligned already."""

import io
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.errors import InvalidImage
from shared.faces.align import TEMPLATE, align, fit_crop, similarity_transform
from shared.faces.detect import Detection, DetectorName, DetectorOptions, Landmarks
from shared.faces.detectors import open_detector
from shared.faces.mtcnn import MtcnnDetector
from shared.faces.picture import PictureLimits, decode_picture
from shared.faces.refine import ONET_TEMPLATE

PORTRAIT = Path(__file__).parents[3] / "data" / "eileen_collins_portrait.jpg"
DATA = os.environ.get("COMPACTFACE_DATA")


def similarity(scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.radians(degrees)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([rotation, shift])


def applied(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def landmarks_of(points: np.ndarray) -> Landmarks:
    return Landmarks(*((float(x), float(y)) for x, y in points))


@pytest.mark.parametrize("scale", [0.1, 1, 7.5])
@pytest.mark.parametrize("degrees", [0, 30, -90, 179])
def test_a_similarity_is_recovered_exactly(scale: float, degrees: float) -> None:
    matrix = similarity(scale, degrees, (12.5, -300))
    moved = applied(matrix, TEMPLATE.astype(np.float64))
    assert np.allclose(applied(similarity_transform(moved, TEMPLATE), moved), TEMPLATE, atol=1e-4)


def test_no_other_similarity_comes_nearer() -> None:
    rng = np.random.default_rng(0)
    points = TEMPLATE + rng.normal(0, 4, TEMPLATE.shape)
    best = similarity_transform(points, TEMPLATE)

    def error(matrix: np.ndarray) -> float:
        return float(((applied(matrix, points) - TEMPLATE) ** 2).sum())

    for _ in range(200):
        nudge = similarity(*(1 + rng.normal(0, 0.02), rng.normal(0, 2), rng.normal(0, 1, 2)))
        other = np.column_stack([nudge[:, :2] @ best[:, :2], applied(nudge, best[:, 2])])
        assert error(other) > error(best)


def test_mirrored_points_are_not_mirrored_back() -> None:
    mirrored = TEMPLATE * [-1, 1]
    matrix = similarity_transform(mirrored.astype(np.float32), TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize("value", [7.0, np.nan, np.inf])
def test_landmarks_that_say_nothing_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"coincide|not finite"):
        similarity_transform(np.full((5, 2), value, np.float32), TEMPLATE)


def dots(matrix: np.ndarray, size: tuple[int, int], radius: float) -> np.ndarray:
    """A black picture with a round white dot on each landmark, anti-aliased."""
    height, width = size
    y, x = np.indices((height, width))
    picture = np.zeros((height, width), np.float64)
    for px, py in applied(matrix, TEMPLATE.astype(np.float64)):
        picture += np.clip(radius + 0.5 - np.hypot(x - px, y - py), 0, 1)
    gray = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


@pytest.mark.parametrize("shift", [0, -1.6])
@pytest.mark.parametrize(
    ("scale", "degrees"), [(0.5, 10), (1, 0), (1.4, -25), (2, 0), (3, 45), (6.5, -10), (20, 5)]
)
def test_landmarks_land_on_the_template_at_every_scale(
    scale: float, degrees: float, shift: float
) -> None:
    """Centres of mass of dots drawn on the landmarks, to a tenth of a pixel."""
    template = TEMPLATE + np.float32(shift)
    size = int(220 * scale)
    matrix = similarity(scale, degrees, (0, 0))
    matrix[:, 2] = size / 2 - matrix[:, :2] @ (48, 72)
    crop = align(
        dots(matrix, (size, size), radius=4 * scale),
        landmarks_of(applied(matrix, TEMPLATE.astype(np.float64))),
        template=template,
    )
    assert crop.shape == (112, 96, 3)
    assert crop.dtype == np.uint8
    y, x = np.indices((112, 96))
    for px, py in template:
        weight = np.where(np.hypot(x - px, y - py) < 8, crop[..., 0].astype(float), 0)
        centre = (weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()
        assert np.abs(np.subtract(centre, (px, py))).max() < 0.1


@pytest.mark.parametrize("scale", [1.6, 2.5, 4, 9])
def test_fine_stripes_turn_gray_and_not_into_false_patterns(scale: float) -> None:
    """Half as strong at most as when pixels are picked, at the finest stripes there are."""
    size = int(200 * scale)
    picture = np.zeros((size, size, 3), np.uint8)
    picture[:, ::2] = 255
    matrix = similarity(scale, 3, (30 * scale, 30 * scale))
    points = applied(matrix, TEMPLATE.astype(np.float64))
    picked = cv2.warpAffine(picture, similarity_transform(points, TEMPLATE), (96, 112))
    crop = align(picture, landmarks_of(points), template=TEMPLATE)
    assert crop[10:-10, 10:-10].std() < picked[10:-10, 10:-10].std() / 2


def test_beyond_the_edge_it_is_black() -> None:
    picture = np.full((112, 96, 3), 200, np.uint8)
    crop = align(picture, landmarks_of(TEMPLATE + np.array([30, 0])), template=ONET_TEMPLATE)
    assert (crop[:100, -15:] == 0).all()
    assert (crop[:100, :50] == 200).all()


def test_a_turned_photograph_gives_the_same_crop() -> None:
    picture = decode_picture(PORTRAIT.read_bytes(), PictureLimits())
    (found,) = MtcnnDetector().detect(picture)
    centre = 225, 115
    turn = cv2.getRotationMatrix2D(centre, 20, 1)
    turned = cv2.warpAffine(picture, turn, picture.shape[1::-1], flags=cv2.INTER_CUBIC)
    points = applied(turn, found.landmarks.as_array().astype(np.float64))
    crop = align(picture, found.landmarks, template=TEMPLATE)
    turned_crop = align(turned, landmarks_of(points), template=TEMPLATE)
    assert np.abs(crop.astype(int) - turned_crop).mean() < 4


# Crops that come aligned


@pytest.mark.parametrize(
    ("width", "height"), [(96, 112), (192, 224), (97, 113), (96, 113), (960, 1131), (600, 700)]
)
def test_an_aligned_crop_is_only_made_smaller(width: int, height: int) -> None:
    y, x = np.indices((height, width))
    picture = np.stack([255 * x // width, 255 * y // height, 0 * x], axis=-1).astype(np.uint8)
    crop = fit_crop(picture)
    assert crop.shape == (112, 96, 3)
    expected = cv2.resize(picture, (96, 112), interpolation=cv2.INTER_AREA)
    assert np.abs(crop.astype(int) - expected).max() <= 1


def test_a_crop_of_the_right_size_stays_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (112, 96, 3), dtype=np.uint8)
    assert np.array_equal(fit_crop(picture), picture)


@pytest.mark.parametrize(
    ("width", "height", "reason", "named"),
    [
        (95, 112, "CROP_TOO_SMALL", "95x112 pixels (width x height); at least 96x112"),
        (96, 111, "CROP_TOO_SMALL", "96x111 pixels"),
        (1, 1, "CROP_TOO_SMALL", "1x1 pixels"),
        (112, 112, "CROP_PROPORTIONS", "112x112 pixels (width x height), 1.000 times"),
        (96, 115, "CROP_PROPORTIONS", "1.167 times is needed"),
        (960, 1135, "CROP_PROPORTIONS", "960x1135"),
    ],
)
def test_what_is_no_aligned_crop_is_refused_with_value_and_limit(
    width: int, height: int, reason: str, named: str
) -> None:
    with pytest.raises(InvalidImage) as caught:
        fit_crop(np.zeros((height, width, 3), np.uint8))
    assert caught.value.reason == reason
    assert named in caught.value.message


# Against the data that the networks learn from


def central(found: list[Detection], side: int) -> Detection:
    def distance(one: Detection) -> float:
        box = one.box
        return float(np.hypot(box.x + box.width / 2 - side / 2, box.y + box.height / 2 - side / 2))

    return min(found, key=distance)


def lfw_frames() -> list[tuple[str, np.ndarray]]:
    assert DATA
    with zipfile.ZipFile(Path(DATA) / "frames" / "lfw_raw_250.zip") as frames:
        names = [name for name in frames.namelist() if name.endswith(".jpg")]
        return [(Path(n).name, decode_picture(frames.read(n), PictureLimits())) for n in names]


@pytest.mark.skipif(not DATA, reason="COMPACTFACE_DATA does not name the data folder")
def test_faces_are_found_in_nearly_all_raw_lfw_photographs() -> None:
    detector = MtcnnDetector()
    frames = lfw_frames()
    assert len(frames) == 250
    assert sum(bool(detector.detect(picture)) for _, picture in frames) >= 0.98 * 250


@pytest.mark.skipif(not DATA, reason="COMPACTFACE_DATA does not name the data folder")
@pytest.mark.parametrize("name", ["fast", "mtcnn"])
def test_crops_agree_with_those_the_networks_are_judged_on(name: DetectorName) -> None:
    """Over 25 photographs the shift between our crop and the data's has a median near none."""
    assert DATA
    detector = open_detector(DetectorOptions(name))
    shifts = []
    with zipfile.ZipFile(Path(DATA) / "lfw112" / "lfw.zip") as faces:
        by_name = {Path(name).name: name for name in faces.namelist()}
        for file, picture in lfw_frames()[:25]:
            found = central(detector.detect(picture), side=250)
            ours = align(picture, found.landmarks, template=detector.template)
            with Image.open(io.BytesIO(faces.read(by_name[file]))) as image:
                theirs = np.asarray(image)[:, 8:104]
            grays = [
                cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[16:-16, 16:-16].astype(np.float32)
                for crop in (ours, np.ascontiguousarray(theirs))
            ]
            shift, _ = cv2.phaseCorrelate(*grays)
            shifts.append(shift)
    assert np.abs(np.median(shifts, axis=0)).max() < 0.5
    assert np.median(np.hypot(*np.transpose(shifts))) < 1.5
