"""A film of people who walk past a camera, made from photographs."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from command_line.demo.performance import Sight

_SIZE = 640, 480
_RATE = 25  # frames a second
_SECONDS = 3.0  # of one person
_FACE = 150  # height of a face, in pixels
_REACH = 1.6  # of what is shown of a photograph, in heights of the face


def write_film(path: Path, sights: "Sequence[Sight]") -> Path:
    """Write a film in which the people cross the frame, one after the other.

    Args:
        path: file to write; its suffix names the container.
        sights: photographs with the position of the face.
    """
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=_RATE)
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        for sight in sights:
            person = _person(sight)
            for step in np.linspace(0, 1, round(_RATE * _SECONDS)):
                frame = Image.new("RGB", _SIZE, "#8a8f94")
                left = round((1 - step) * _SIZE[0] - step * person.width)
                frame.paste(person, (left, (_SIZE[1] - person.height) // 2))
                container.mux(
                    stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24"))
                )
        container.mux(stream.encode(None))
    return path


def _person(sight: "Sight") -> Image.Image:
    """The photograph around the face, in the size of the film."""
    box, around = sight.face.box, _REACH * sight.face.box.height / 2
    x, y = box.x + box.width / 2, box.y + box.height / 2
    with Image.open(io.BytesIO(sight.image)) as photo:
        part = photo.convert("RGB").crop(
            (round(x - around), round(y - around), round(x + around), round(y + around))
        )
    scale = _FACE / box.height
    return part.resize((round(part.width * scale), round(part.height * scale)))
