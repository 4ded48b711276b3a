"""Which face of a walk is forwarded: an invented detector knows where the person is."""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from camera_gateway.settings import CameraSettings
from camera_gateway.shots import Shot
from camera_gateway.watcher import Watcher
from shared.faces.align import TEMPLATE
from shared.faces.detect import Detection

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WIDTH, HEIGHT = 320, 200
FACE = np.random.default_rng(1).integers(0, 256, (14, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)


class Walk:
    """Finds the one face of a picture; `left` is where its crop begins."""

    template = TEMPLATE

    def __init__(self) -> None:
        self.left = 0

    def detect(self, picture: NDArray[np.uint8]) -> list[Detection]:
        del picture
        points = TEMPLATE + np.array((self.left, 40), np.float32)
        box = np.array((self.left, 40, self.left + 96, 152), np.float32)
        return [Detection.of(box, np.float32(1), points)]

    def picture(self, left: int) -> NDArray[np.uint8]:
        """A gray picture with the face there, as far as it is inside."""
        self.left = left
        wide = np.full((HEIGHT, WIDTH + 400, 3), 128, np.uint8)
        wide[40:152, 200 + left : 296 + left] = FACE
        return wide[:, 200 : 200 + WIDTH]


def forwarded(*lefts: int) -> list[Shot]:
    """What a walk past these places sends, four looks a second."""
    walk = Walk()
    watcher = Watcher(CameraSettings(name="door", source="0"), walk, video=True)
    shots: list[Shot] = []
    for number, left in enumerate(lefts):
        shots += watcher.see(walk.picture(left), number / 4, NOON).shots
    return [*shots, *watcher.finish()]


def test_a_face_that_enters_is_sent_when_it_is_wholly_inside() -> None:
    (shot,) = forwarded(260, 250, 245, 240, 120, 100)
    assert np.abs(shot.crop.astype(int) - FACE).mean() < 1


def test_a_face_of_which_a_quarter_stays_outside_is_not_sent() -> None:
    assert forwarded(*[WIDTH - 72] * 8) == []


def test_a_face_of_which_little_is_outside_is_sent_if_there_is_no_better() -> None:
    (shot,) = forwarded(*[WIDTH - 92] * 8)
    assert shot.quality > 0
