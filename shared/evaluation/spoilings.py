"""What spoils photographs of faces, and pictures that show none.

Spoilings are drawn on whole aligned faces, 112x112, before crop and codec. The same drawings serve
measurement, at stated strengths, and fitting, at random ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Face = NDArray[np.uint8]
"""(112, 112, 3) RGB, aligned to ArcFace's template."""

Draw = Callable[[Face, np.random.Generator], Face]

SIDE = 112
OUTSIDE = "outside"
PARTS = (
    "blur",
    "noise",
    "dark",
    "uneven_light",
    "eyes_covered",
    "mouth_covered",
    OUTSIDE,
    "rolled",
    "odd_colours",
    "not_a_face",
)
"""What can be wrong with a face, as a quality head and the protocol's `Flaws` name it."""

# Where the eyes are, in ArcFace's 112x112.
_LEFT, _RIGHT = (38.3, 51.7), (73.5, 51.5)
_MIDDLE = (SIDE / 2, SIDE / 2)


@dataclass(frozen=True, slots=True)
class Spoiling:
    """One way to spoil a face.

    Attributes:
        parts: what it spoils, of `PARTS`.
        draw: spoils one face; all chance comes from the generator.
        grainy: whether most of that chance is grain, which no two photographs share.
    """

    parts: tuple[str, ...]
    draw: Draw
    grainy: bool = False


def gaussian(face: Face, sigma: float) -> Face:
    """Out of focus, by `sigma` pixels."""
    return _byte(cv2.GaussianBlur(face, (0, 0), sigma))


def motion(face: Face, length: float, angle: float) -> Face:
    """Moved by `length` pixels along `angle` (radians) while the shutter was open."""
    size = 2 * round(length / 2) + 3
    kernel = np.zeros((size, size), np.float32)
    middle = size // 2
    along = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    for t in np.linspace(-1, 1, 8 * size):
        x, y = np.rint(middle + t * along).astype(int)
        kernel[y, x] += 1
    return _byte(cv2.filter2D(face, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE))


def glasses(face: Face, random: np.random.Generator) -> Face:
    """Dark glasses of a random form."""
    worn = face.copy()
    colour = random.integers(0, 50, 3).tolist()
    wide, high = int(random.integers(13, 19)), int(random.integers(9, 15))
    down, rounded = int(random.integers(0, 4)), bool(random.integers(2))
    for x, y in (_LEFT, _RIGHT):
        centre = (round(x), round(y) + down)
        if rounded:
            cv2.ellipse(worn, centre, (wide, high), 0, 0, 360, colour, -1, cv2.LINE_AA)
        else:
            corner = (centre[0] - wide, centre[1] - high)
            other = (centre[0] + wide, centre[1] + high)
            cv2.rectangle(worn, corner, other, colour, -1)
    bridge = round(_LEFT[1]) - 3 + down
    cv2.line(worn, (8, bridge - 2), (104, bridge - 2), colour, 3, cv2.LINE_AA)
    return worn


def mask(face: Face, random: np.random.Generator) -> Face:
    """A mask over nose, mouth and chin, of a random colour."""
    worn = face.copy()
    colours = ((200, 215, 225), (150, 190, 220), (235, 235, 235), (25, 25, 28), (60, 90, 120))
    colour = np.array(colours[random.integers(len(colours))]) + random.integers(-20, 20, 3)
    top = 66 + int(random.integers(-4, 6))
    outline = [(10, top + 2), (56, top - 6), (102, top + 2), (96, 104), (70, 119), (42, 119)]
    points = np.array([*outline, (16, 104)]) + random.integers(-3, 4, (7, 2))
    cv2.fillPoly(worn, [points.astype(np.int32)], colour.clip(0, 255).tolist(), cv2.LINE_AA)
    for fold in range(3):
        row = top + 12 + 10 * fold
        shade = (colour * 0.85).clip(0, 255).tolist()
        cv2.line(worn, (20, row), (92, row + 2), shade, 1, cv2.LINE_AA)
    return worn


def outside(face: Face, share: float, angle: float) -> Face:
    """A share of the crop lies beyond the picture's edge, which is black.

    Args:
        face: the whole face.
        share: of the 112x96 crop's area.
        angle: radians; the side that is cut: 0 right, pi/2 below, pi left.
    """
    y, x = np.mgrid[:SIDE, :SIDE]
    depth = np.cos(angle) * x + np.sin(angle) * y
    limit = np.quantile(depth[:, 8:-8], 1 - share)
    return np.where((depth > limit)[..., None], np.uint8(0), face)


def turned(face: Face, degrees: float) -> Face:
    """Rolled about the line of sight; corners that come in are black."""
    matrix = cv2.getRotationMatrix2D(_MIDDLE, degrees, 1)
    return _byte(cv2.warpAffine(face, matrix, (SIDE, SIDE)))


def low_light(face: Face, gain: float, random: np.random.Generator) -> Face:
    """Underexposed by a factor, with the grain and the rounding of a sensor in the dark."""
    dark = face * gain + random.normal(0, 3, face.shape)
    return _byte(dark)


def backlight(face: Face, gain: float) -> Face:
    """A dark face before a bright background."""
    y, x = np.mgrid[:SIDE, :SIDE]
    away = np.hypot((x - 56) / 46, (y - 62) / 58)
    bright = np.clip((away - 0.85) * 4, 0, 1)[..., None]
    return _byte(face * gain * (1 - bright) + (200 + face * 0.2) * bright + 8)


def jpeg(face: Face, quality: int) -> Face:
    """Through a JPEG file."""
    _, coded = cv2.imencode(".jpg", face[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was made here
    return np.ascontiguousarray(_byte(decoded)[..., ::-1])


def small(face: Face, pixels: int) -> Face:
    """A face of so many pixels, enlarged."""
    shrunk = cv2.resize(face, (pixels, pixels), interpolation=cv2.INTER_AREA)
    return _byte(cv2.resize(shrunk, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))


def infrared(face: Face) -> Face:
    """Grey, with bright skin and dark surroundings, as under an infrared lamp."""
    red = face[..., 0].astype(np.float32) / 255
    y, x = np.mgrid[:SIDE, :SIDE]
    lamp = np.exp(-(((x - 56) / 60) ** 2) - ((y - 60) / 60) ** 2)
    grey = 255 * np.clip(red**0.6 * (0.35 + 0.8 * lamp), 0, 1)
    return _byte(np.repeat(grey[..., None], 3, axis=2))


def noise(face: Face, sigma: float, random: np.random.Generator) -> Face:
    """Gaussian noise of `sigma` grey levels."""
    return _byte(face + random.normal(0, sigma, face.shape))


def pure_noise(random: np.random.Generator) -> Face:
    """Noise of a random grain and strength."""
    cells = int(random.choice([7, 14, 28, 56, 112]))
    coarse = random.integers(0, 256, (cells, cells, 3)).astype(np.uint8)
    grain = cv2.resize(coarse, (SIDE, SIDE), interpolation=int(random.integers(0, 3)))
    return _byte(128 + (grain.astype(np.float32) - 128) * random.uniform(0.4, 1))


def cartoon(random: np.random.Generator) -> Face:
    """A face as a child draws it, its eyes and mouth where alignment puts them."""
    drawn = np.full((SIDE, SIDE, 3), random.integers(120, 256, 3), np.uint8)
    skin, ink = random.integers(140, 256, 3).tolist(), random.integers(0, 90, 3).tolist()
    head = (int(random.integers(38, 52)), int(random.integers(46, 58)))
    cv2.ellipse(drawn, (56, 64), head, 0, 0, 360, skin, -1, cv2.LINE_AA)
    cv2.ellipse(drawn, (56, 64), head, 0, 0, 360, ink, int(random.integers(1, 4)), cv2.LINE_AA)
    eye = int(random.integers(3, 9))
    for x, y in (_LEFT, _RIGHT):
        cv2.circle(drawn, (round(x), round(y)), eye, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(drawn, (round(x), round(y)), max(1, eye // 2), ink, -1, cv2.LINE_AA)
    cv2.line(drawn, (56, 60), (56 - int(random.integers(0, 6)), 74), ink, 2, cv2.LINE_AA)
    smile = (int(random.integers(10, 19)), int(random.integers(2, 12)))
    cv2.ellipse(drawn, (56, 90), smile, 0, 0, 180, ink, int(random.integers(1, 5)), cv2.LINE_AA)
    return drawn


def scraps(face: Face, random: np.random.Generator) -> Face:
    """What a face is made of and no face: its tiles in another order, or a small piece enlarged."""
    if random.integers(2):
        side = int(random.choice([7, 14, 28]))
        cells = SIDE // side
        tiles = face.reshape(cells, side, cells, side, 3).transpose(0, 2, 1, 3, 4)
        mixed = random.permutation(tiles.reshape(cells**2, side, side, 3)).reshape(tiles.shape)
        return np.ascontiguousarray(mixed.transpose(0, 2, 1, 3, 4).reshape(face.shape))
    side = int(random.integers(12, 36))
    top, left = random.integers(SIDE - side, size=2)
    piece = np.rot90(face[top : top + side, left : left + side], int(random.integers(1, 4)))
    return _byte(cv2.resize(piece, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))


def texture(photograph: NDArray[np.uint8], random: np.random.Generator) -> Face:
    """A piece of a photograph that shows no face, of a random place and size."""
    side = int(random.integers(60, min(photograph.shape[:2]) + 1))
    top = int(random.integers(photograph.shape[0] - side + 1))
    left = int(random.integers(photograph.shape[1] - side + 1))
    piece = photograph[top : top + side, left : left + side]
    return _byte(cv2.resize(piece, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def _glasses_and_mask(face: Face, random: np.random.Generator) -> Face:
    return mask(glasses(face, random), random)


def _no_face(face: Face, random: np.random.Generator) -> Face:
    draws = (pure_noise, cartoon, lambda r: scraps(face, r), lambda r: scraps(face, r))
    return draws[random.integers(len(draws))](random)


def _any_side(random: np.random.Generator) -> float:
    return float(random.uniform(0, 2 * np.pi))


CONDITIONS: Mapping[str, Spoiling] = {
    "unspoilt": Spoiling((), lambda face, _: face),
    "blur 4": Spoiling(("blur",), lambda face, _: gaussian(face, 4)),
    "blur 5": Spoiling(("blur",), lambda face, _: gaussian(face, 5)),
    "motion 13": Spoiling(("blur",), lambda face, r: motion(face, 13, r.uniform(0, np.pi))),
    "24 pixels": Spoiling(("blur",), lambda face, _: small(face, 24)),
    "dark glasses": Spoiling(("eyes_covered",), glasses),
    "mask": Spoiling(("mouth_covered",), mask),
    "glasses and mask": Spoiling(("eyes_covered", "mouth_covered"), _glasses_and_mask),
    "lower 40 % outside": Spoiling(("outside",), lambda face, _: outside(face, 0.4, np.pi / 2)),
    "left 40 % outside": Spoiling(("outside",), lambda face, _: outside(face, 0.4, np.pi)),
    "left 50 % outside": Spoiling(("outside",), lambda face, _: outside(face, 0.5, np.pi)),
    "3 to 15 % outside": Spoiling(
        ("outside",), lambda face, r: outside(face, r.uniform(0.03, 0.15), _any_side(r))
    ),
    "15 to 30 % outside": Spoiling(
        ("outside",), lambda face, r: outside(face, r.uniform(0.15, 0.3), _any_side(r))
    ),
    "upside down": Spoiling(("rolled",), lambda face, _: turned(face, 180)),
    "low light": Spoiling(("dark",), lambda face, r: low_light(face, 0.08, r)),
    "backlight": Spoiling(("uneven_light",), lambda face, _: backlight(face, 0.2)),
    "infrared": Spoiling(("odd_colours",), lambda face, _: infrared(face)),
    "JPEG 10": Spoiling(("noise",), lambda face, _: jpeg(face, 10)),
    "noise 20": Spoiling(("noise",), lambda face, r: noise(face, 20, r)),
    "pure noise": Spoiling(("not_a_face",), lambda _, r: pure_noise(r)),
    "cartoons": Spoiling(("not_a_face",), lambda _, r: cartoon(r)),
}
"""What `evaluate trust` measures, at stated strengths."""

RANDOM: Mapping[str, Spoiling] = {
    "unspoilt": Spoiling((), lambda face, _: face),
    "blur": Spoiling(("blur",), lambda face, r: gaussian(face, r.uniform(1, 6))),
    "motion": Spoiling(
        ("blur",), lambda face, r: motion(face, r.uniform(4, 18), r.uniform(0, np.pi))
    ),
    "small": Spoiling(("blur",), lambda face, r: small(face, int(r.integers(14, 56)))),
    "glasses": Spoiling(("eyes_covered",), glasses),
    "mask": Spoiling(("mouth_covered",), mask),
    "both": Spoiling(("eyes_covered", "mouth_covered"), _glasses_and_mask),
    "outside": Spoiling(
        ("outside",),
        lambda face, r: outside(
            face, r.uniform(0.03, 0.6), r.choice([r.uniform(0, 2 * np.pi), np.pi / 2, np.pi, 0])
        ),
    ),
    "roll": Spoiling(
        ("rolled",), lambda face, r: turned(face, r.choice([180, r.uniform(30, 330)]))
    ),
    "low light": Spoiling(
        ("dark",), lambda face, r: low_light(face, r.uniform(0.04, 0.3), r), True
    ),
    "backlight": Spoiling(("uneven_light",), lambda face, r: backlight(face, r.uniform(0.1, 0.5))),
    "infrared": Spoiling(("odd_colours",), lambda face, _: infrared(face)),
    "jpeg": Spoiling(("noise",), lambda face, r: jpeg(face, int(r.integers(4, 25)))),
    "noise": Spoiling(("noise",), lambda face, r: noise(face, r.uniform(8, 60), r), grainy=True),
    "no face": Spoiling(("not_a_face",), _no_face, grainy=True),
}
"""What quality heads are fitted on: the same, at random strengths."""

RECOGNIZABLE: Mapping[str, Spoiling] = {
    name: way for name, way in RANDOM.items() if way.parts and name not in {"roll", "no face"}
}
"""Those of `RANDOM` that spoil a face and leave somebody to recognize."""


def spoil(faces: NDArray[np.uint8], draw: Draw, *, seed: int) -> NDArray[np.uint8]:
    """(N, 112, 112, 3) spoilt one by one; the same for the same position and seed."""
    return np.stack(
        [draw(face, np.random.default_rng([seed, row])) for row, face in enumerate(faces)]
    )


def _byte(picture: NDArray[np.number]) -> Face:
    """Rounded to whole levels in [0, 255]."""
    levels: Face = np.rint(np.clip(picture, 0, 255)).astype(np.uint8)
    return levels
