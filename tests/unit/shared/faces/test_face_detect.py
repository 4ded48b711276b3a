"""Detection: the faces of the sample photographs, and pictures that could upset a detector."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.faces.detect import (
    Box,
    Detection,
    Detector,
    DetectorName,
    DetectorOptions,
    Landmarks,
    prominence,
)
from shared.faces.detectors import open_detector
from shared.faces.picture import PictureLimits, decode_picture

PHOTOS = sorted((Path(__file__).parents[3] / "data").glob("*.jpg"))


NAMES = ("fast", "mtcnn")


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> DetectorName:
    return request.param


@pytest.fixture(scope="module")
def detector(name: DetectorName) -> Detector:
    return open_detector(DetectorOptions(name))


def photo(path: Path) -> np.ndarray:
    return decode_picture(path.read_bytes(), PictureLimits())


def collins() -> np.ndarray:
    return photo(next(path for path in PHOTOS if "collins" in path.name))


def points(found: Detection) -> np.ndarray:
    return found.landmarks.as_array()


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_the_one_face_of_each_sample_is_found(detector: Detector, path: Path) -> None:
    (found,) = detector.detect(photo(path))
    assert 0.95 < found.score <= 1
    left_eye, right_eye, nose, mouth_left, mouth_right = points(found)
    assert left_eye[0] < nose[0] < right_eye[0]
    assert mouth_left[0] < mouth_right[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(mouth_left[1], mouth_right[1])
    corner = np.array([found.box.x, found.box.y])
    size = np.array([found.box.width, found.box.height])
    assert (points(found) > corner).all()
    assert (points(found) < corner + size).all()


def test_landmarks_lie_where_a_person_sees_them(detector: Detector) -> None:
    """The pupils and the tip of the nose of Eileen Collins, read off the enlarged photograph."""
    (found,) = detector.detect(collins())
    seen = np.array([(204.0, 101.5), (247.0, 104.0), (226.0, 129.0)])
    assert np.linalg.norm(points(found)[:3] - seen, axis=1).max() < 3


def test_a_mirrored_photograph_has_mirrored_landmarks(detector: Detector) -> None:
    """A constant shift of the landmarks would show here, as twice its size."""
    picture = collins()
    (found,) = detector.detect(picture)
    (mirrored,) = detector.detect(np.ascontiguousarray(picture[:, ::-1]))
    back = points(mirrored)[[1, 0, 2, 4, 3]]
    back[:, 0] = picture.shape[1] - 1 - back[:, 0]
    assert np.abs(back - points(found)).max() < 0.04 * found.box.width


def test_faces_come_largest_first(detector: Detector) -> None:
    face = collins()[:300, 100:360]
    picture = np.zeros((600, 600, 3), np.uint8)
    picture[:150, :130] = cv2.resize(face, (130, 150), interpolation=cv2.INTER_AREA)
    picture[200:500, 200:460] = face
    found = detector.detect(picture)
    assert len(found) == 2
    assert found[0].box.width > 1.5 * found[1].box.width
    assert found[0].box.x > 200 > found[1].box.x


def test_a_central_face_comes_before_a_larger_one_at_the_edge(detector: Detector) -> None:
    """In a portrait that one is a bystander."""
    face = collins()[:300, 100:360]
    picture = np.zeros((600, 800, 3), np.uint8)
    picture[:360, :312] = cv2.resize(face, (312, 360), interpolation=cv2.INTER_CUBIC)
    picture[150:450, 320:580] = face
    found = detector.detect(picture)
    assert len(found) == 2
    assert found[0].box.width < found[1].box.width
    assert found[0].box.x > 320 > found[1].box.x


def test_a_large_face_beside_the_centre_comes_before_a_small_one_in_it() -> None:
    large, small = Box(100, 100, 200, 240), Box(370, 280, 60, 72)
    assert prominence(large, 800, 600) > prominence(small, 800, 600)


def test_prominence_does_not_depend_on_the_size_of_the_picture() -> None:
    one, other = Box(10, 10, 90, 100), Box(160, 120, 60, 70)
    ratio = prominence(one, 400, 300) / prominence(other, 400, 300)
    doubled = [Box(2 * box.x, 2 * box.y, 2 * box.width, 2 * box.height) for box in (one, other)]
    assert np.isclose(prominence(doubled[0], 800, 600) / prominence(doubled[1], 800, 600), ratio)


def test_a_very_large_photo_is_scanned_small_and_answered_in_its_own_pixels(
    detector: Detector,
) -> None:
    (found,) = detector.detect(collins())
    huge = cv2.resize(collins(), (4096, 4096), interpolation=cv2.INTER_CUBIC)
    (found_huge,) = detector.detect(huge)
    assert np.abs(points(found_huge) / 8 - points(found)).max() < 3


def test_smaller_faces_than_asked_for_are_left_out(name: DetectorName) -> None:
    sought, too_large = (
        open_detector(DetectorOptions(name, min_face_size=size)) for size in (60, 300)
    )
    assert len(sought.detect(collins())) == 1
    assert too_large.detect(collins()) == []


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 5000), (5000, 1), (11, 400), (12, 12), (20, 20), (15, 9000)]
)
@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_odd_pictures_have_no_faces(detector: Detector, height: int, width: int, kind: str) -> None:
    shape = (height, width, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    picture = {"black": np.zeros_like(noise), "white": np.full_like(noise, 255), "noise": noise}
    assert detector.detect(picture[kind]) == []


def test_a_face_cut_by_the_edge_does_not_upset_the_detector(detector: Detector) -> None:
    picture = collins()
    for left in range(170, 260, 10):
        for found in detector.detect(np.ascontiguousarray(picture[60:, left:])):
            assert np.isfinite(points(found)).all()
            assert found.box.width > 0
            assert found.box.height > 0


def test_threads_may_share_a_detector(detector: Detector) -> None:
    pictures = [photo(path)[::2, ::2] for path in PHOTOS[:3]] * 3
    alone = [detector.detect(picture) for picture in pictures]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(detector.detect, pictures)) == alone


def test_a_face_size_below_the_network_is_refused(name: DetectorName) -> None:
    with pytest.raises(ValueError, match="min_face_size is 8; at least 12"):
        open_detector(DetectorOptions(name, min_face_size=8))


def test_landmarks_keep_their_order_as_an_array() -> None:
    landmarks = Landmarks((1, 2), (3, 4), (5, 6), (7, 8), (9, 10))
    assert landmarks.as_array().tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    assert landmarks.as_array().dtype == np.float32
