"""Films of people who walk past, made of the photographs in tests/data."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

PHOTOS = Path(__file__).parent / "data"
FACES = {  # left, top, width, height in pixels of the photograph
    "barack_obama_portrait_2012": (380, 100, 222, 310),
    "eileen_collins_portrait": (179, 64, 86, 108),
    "joe_biden_blue_room": (234, 92, 152, 215),
}
OBAMA, COLLINS, BIDEN = FACES
SIZE = 320, 240


@dataclass(frozen=True, slots=True)
class Walk:
    """One person from one place to another.

    Attributes:
        who: name of the photograph.
        start: when, in seconds.
        end: when, in seconds.
        x: where the face is, from and to, in widths of the frame; outside 0 to 1 it is out of view.
        y: and in heights.
        height: of the face, from and to, in heights of the frame.
    """

    who: str
    start: float
    end: float
    x: tuple[float, float] = (-0.3, 1.3)
    y: float = 0.45
    height: tuple[float, float] = (0.3, 0.3)


def drawn(walks: Sequence[Walk], at: float, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """The frame at that second, (H, W, 3) RGB; who comes later in the list walks in front."""
    width, height = size
    slope = np.linspace(60, 130, width, dtype=np.uint8)
    frame = Image.fromarray(np.repeat(np.tile(slope, (height, 1))[..., None], 3, axis=2))
    for walk in walks:
        if walk.start <= at < walk.end:
            part = (at - walk.start) / (walk.end - walk.start)
            x = walk.x[0] + part * (walk.x[1] - walk.x[0])
            tall = round(height * (walk.height[0] + part * (walk.height[1] - walk.height[0])))
            head = _head(walk.who, tall)
            place = round(x * width - head.width / 2), round(walk.y * height - head.height / 2)
            frame.paste(head, place)
    return np.asarray(frame)


def write_clip(
    path: Path,
    walks: Sequence[Walk],
    *,
    seconds: float,
    rate: int = 10,
    size: tuple[int, int] = SIZE,
    codec: str = "libx264",
    metadata: dict[str, str] | None = None,
) -> Path:
    """A film; its suffix says the container.

    Args:
        path: to write.
        walks: who is to be seen.
        seconds: its length.
        rate: frames a second.
        size: width and height, in pixels.
        codec: name of FFmpeg's encoder.
        metadata: of the container.
    """
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata or {})
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        stream.gop_size = rate  # a lost packet costs a second at most
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "18"}
        for number in range(round(seconds * rate)):
            picture = drawn(walks, number / rate, size)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@cache
def _head(who: str, tall: int) -> Image.Image:
    """Head and shoulders of a photograph, the face so many pixels high and in the middle."""
    left, top, width, height = FACES[who]
    around = left - 0.7 * width, top - 0.5 * height, left + 1.7 * width, top + 1.5 * height
    with Image.open(PHOTOS / f"{who}.jpg") as photo:
        head = photo.convert("RGB").crop(tuple(round(edge) for edge in around))
    scale = tall / height
    return head.resize((round(head.width * scale), round(head.height * scale)))
