"""What every detector promises beyond finding faces: turned faces, regions, bounds, a template."""

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from encoder_service.core.encoder import Encoder
from encoder_service.settings import EncoderSettings
from shared.faces.align import TEMPLATE, align
from shared.faces.detect import (
    Box,
    Detection,
    Detector,
    DetectorName,
    DetectorOptions,
    Landmarks,
    Region,
)
from shared.faces.detectors import open_detector
from shared.faces.picture import PictureLimits, decode_picture
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.model_directory import ModelDirectory
from shared.serving.settings_loader import SettingsError, load_settings
from tests.benchmarks.bench_detection import compare

PHOTOS = sorted((Path(__file__).parents[3] / "data").glob("*.jpg"))
DATA = os.environ.get("COMPACTFACE_DATA")
NAMES = ("fast", "mtcnn")


def photo(path: Path) -> np.ndarray:
    picture = decode_picture(path.read_bytes(), PictureLimits())
    scale = min(1.0, 600 / max(picture.shape))
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def collins() -> np.ndarray:
    return photo(next(path for path in PHOTOS if "collins" in path.name))


def turned(picture: np.ndarray, quarters: int) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(picture, quarters))


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> DetectorName:
    return request.param


@pytest.fixture(scope="module")
def upright_only(name: DetectorName) -> Detector:
    return open_detector(DetectorOptions(name, min_face_size=24))


@pytest.fixture(scope="module")
def turned_too(name: DetectorName) -> Detector:
    return open_detector(DetectorOptions(name, min_face_size=24, turned_faces=True))


# Turned faces


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_a_face_upside_down_is_no_face(upright_only: Detector, path: Path, scale: float) -> None:
    """At either size MTCNN's networks alone are sure of one with its eyes in the mouth."""
    small = cv2.resize(photo(path), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    assert upright_only.detect(turned(small, 2)) == []


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_turned_face_is_found_and_aligned_upright_where_that_is_asked_for(
    upright_only: Detector, turned_too: Detector, quarters: int
) -> None:
    picture = collins()
    (expected,) = upright_only.detect(picture)
    (found,) = turned_too.detect(turned(picture, quarters))
    crops = [
        align(shown, face.landmarks, template=turned_too.template).astype(int)
        for shown, face in ((picture, expected), (turned(picture, quarters), found))
    ]
    assert np.abs(crops[0] - crops[1]).mean() < 3
    points, box = found.landmarks.as_array(), found.box
    assert (points > (box.x, box.y)).all()
    assert (points < (box.x + box.width, box.y + box.height)).all()


def test_each_turned_face_of_a_picture_is_found_once(turned_too: Detector) -> None:
    face = cv2.resize(collins()[:300, 100:360], (260, 260))
    picture = np.zeros((600, 600, 3), np.uint8)
    for quarters, (y, x) in enumerate(((20, 20), (20, 320), (320, 20), (320, 320))):
        picture[y : y + 260, x : x + 260] = turned(face, quarters)
    found = turned_too.detect(picture)
    assert len(found) == 4
    corners = {(face.box.x > 300, face.box.y > 300) for face in found}
    assert len(corners) == 4


def test_a_face_half_way_between_two_turns_is_found_once(turned_too: Detector) -> None:
    picture = collins()
    turn = cv2.getRotationMatrix2D((225, 115), 45, 1)
    tilted = cv2.warpAffine(picture, turn, picture.shape[1::-1], flags=cv2.INTER_CUBIC)
    assert len(turned_too.detect(tilted)) == 1


# Regions


def test_faces_outside_the_region_are_not_found_and_others_keep_their_place(
    name: DetectorName, upright_only: Detector
) -> None:
    face = collins()[:300, 100:360]
    picture = np.zeros((300, 700, 3), np.uint8)
    picture[:, :260], picture[:, 440:] = face, face
    everywhere = sorted(upright_only.detect(picture), key=lambda found: found.box.x)
    assert len(everywhere) == 2
    right = open_detector(DetectorOptions(name, min_face_size=24, region=Region(0.5, 0, 1, 1)))
    (found,) = right.detect(picture)
    shift = found.landmarks.as_array() - everywhere[1].landmarks.as_array()
    assert np.abs(shift).max() < 4
    assert abs(found.box.x - everywhere[1].box.x) < 8


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_a_region_of_a_tiny_picture_holds_no_face(name: DetectorName, size: tuple) -> None:
    region = Region(0.9, 0.9, 1, 1)
    detector = open_detector(DetectorOptions(name, region=region, turned_faces=True))
    assert detector.detect(np.zeros((*size, 3), np.uint8)) == []


# Bounds


def crowd(width: int, height: int, side: int) -> np.ndarray:
    """As many faces as fit, each `side` pixels wide."""
    (found,) = open_detector(DetectorOptions("fast", min_face_size=60)).detect(collins())
    scale = side / found.box.width
    small = cv2.resize(collins(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    x, y = (int(scale * edge) for edge in (found.box.x, found.box.y))
    tile = small[max(0, y - side // 3) :, max(0, x - side // 3) :][: 2 * side, : 2 * side]
    across, down = -(-width // tile.shape[1]), -(-height // tile.shape[0])
    return np.ascontiguousarray(np.tile(tile, (down, across, 1))[:height, :width])


def test_faces_of_40_pixels_are_found_in_a_frame_of_1920x1080() -> None:
    frame = np.full((1080, 1920, 3), 128, np.uint8)
    frame[400:560, 900:1060] = crowd(160, 160, 40)
    found = open_detector(DetectorOptions("fast", min_face_size=40)).detect(frame)
    assert len(found) >= 4
    assert all(25 < face.box.width < 60 for face in found)


def test_no_more_than_300_faces_are_looked_at() -> None:
    detector = open_detector(DetectorOptions("fast", min_face_size=24))
    found = detector.detect(crowd(1280, 960, 24))
    assert 100 < len(found) <= 300


def test_a_frame_of_noise_holds_no_face(upright_only: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert upright_only.detect(noise) == []


# The seam


class Elsewhere:
    """Finds what another detector finds, by a landmark convention of its own."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.template = self._elsewhere(detector.template)

    def detect(self, picture: np.ndarray) -> list[Detection]:
        return [
            replace(found, landmarks=Landmarks(*self._elsewhere(found.landmarks.as_array())))
            for found in self._detector.detect(picture)
        ]

    @staticmethod
    def _elsewhere(points: np.ndarray) -> np.ndarray:
        """Every point moved by a tenth of the way between the eyes, in their direction."""
        return points + 0.1 * (points[1] - points[0])


def test_the_encoder_aligns_by_the_detectors_own_convention(tiny_model: ModelDirectory) -> None:
    detector = open_detector(DetectorOptions("fast", min_face_size=24))
    image = next(path for path in PHOTOS if "collins" in path.name).read_bytes()
    limits, crop_encoder = PictureLimits(), OnnxCropEncoder(tiny_model)
    ours, same, without = (
        Encoder(detector=one, crop_encoder=crop_encoder, limits=limits, max_faces=8)
        .encode(image)
        .faces[0]
        .crop.astype(int)
        for one in (detector, Elsewhere(detector), Ignorant(detector))
    )
    assert np.abs(ours - same).mean() < 2.5
    assert np.abs(ours - without).mean() > 4


class Ignorant(Elsewhere):
    """Does the same, and does not say so."""

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector)
        self.template = detector.template


# Settings


def test_the_encoder_uses_mtcnn_by_default() -> None:
    assert load_settings(EncoderSettings).detector_options == DetectorOptions(
        "mtcnn", min_face_size=24
    )


def test_settings_choose_detector_region_and_turned_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACTFACE_ENCODER_DETECTOR", "fast")
    monkeypatch.setenv("COMPACTFACE_ENCODER_MIN_FACE_SIZE", "40")
    monkeypatch.setenv("COMPACTFACE_ENCODER_REGION_OF_INTEREST", "0, 0.25, 0.5, 1")
    monkeypatch.setenv("COMPACTFACE_ENCODER_TURNED_FACES", "true")
    assert load_settings(EncoderSettings).detector_options == DetectorOptions(
        "fast", min_face_size=40, region=Region(0, 0.25, 0.5, 1), turned_faces=True
    )


@pytest.mark.parametrize(
    "text",
    ["0,0,1", "a,b,c,d", "0,0,1,1,1", "0.5,0,0.5,1", "-0.1,0,1,1", "0,0,1,2", "nan,0,1,1"],
)
def test_a_region_that_makes_no_sense_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("COMPACTFACE_ENCODER_REGION_OF_INTEREST", text)
    with pytest.raises(SettingsError, match=r"REGION_OF_INTEREST.*left,top,right,bottom"):
        load_settings(EncoderSettings)


def test_an_unknown_detector_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACTFACE_ENCODER_DETECTOR", "yolo")
    with pytest.raises(SettingsError, match=r"DETECTOR is 'yolo'.*'fast' or 'mtcnn'"):
        load_settings(EncoderSettings)


# How alike detectors are


class Fixed:
    """Always finds the same."""

    template = TEMPLATE

    def __init__(self, found: list[Detection]) -> None:
        self._found = found

    def detect(self, picture: np.ndarray) -> list[Detection]:
        del picture
        return self._found


def at(face: Detection, x: float, side: float) -> Detection:
    return Detection(Box(x, 0, side, side), face.landmarks, face.score)


def test_recall_and_precision_count_large_faces_only() -> None:
    picture = collins()
    (face,) = open_detector(DetectorOptions("fast", min_face_size=60)).detect(picture)
    expected = [at(face, 0, 50), at(face, 100, 50), at(face, 200, 50), at(face, 300, 20)]
    ours = Fixed([at(face, 5, 50), at(face, 103, 50), at(face, 400, 60), at(face, 500, 20)])
    result = compare(ours, [picture], [expected], min_face=40)
    assert (result.expected, result.found, result.extra) == (3, 2, 1)
    assert result.recall == result.precision == pytest.approx(2 / 3)
    assert result.shifts == [0, 0]


@pytest.mark.skipif(not DATA, reason="COMPACTFACE_DATA does not name the data folder")
def test_the_fast_detector_finds_what_mtcnn_finds() -> None:
    """On 50 photographs one face of a hundred may depend on chance."""
    assert DATA
    with zipfile.ZipFile(Path(DATA) / "frames" / "lfw_raw_250.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::5]
        photos = [decode_picture(archive.read(name), PictureLimits()) for name in names]
    fast, mtcnn = (open_detector(DetectorOptions(name, min_face_size=40)) for name in NAMES)
    result = compare(fast, photos, [mtcnn.detect(picture) for picture in photos], min_face=50)
    assert result.expected >= 50
    assert result.recall >= 0.96
    assert result.precision >= 0.95
    assert np.median(result.shifts) < 0.04
