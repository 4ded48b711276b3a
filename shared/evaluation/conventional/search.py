"""Find the best image within a size limit."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from shared.evaluation.conventional.codec import Codec, Picture

Measure = Literal["file", "payload"]
"""The bytes that count: those of the file, or those of `Codec.payload_bytes`."""

# Sizes are not monotonic in the setting: AVIF's and JPEG XL's vary by some per cent, so that a
# better setting a few steps up may fit although the next one does not.
_LOOK_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Compressed:
    """A compressed image.

    Attributes:
        file: the encoded file.
        crop: the decoded image, (height, width, 3) RGB.
        payload_bytes: bytes that depend on the image.
        reached: whether it is within the size limit.
    """

    file: bytes
    crop: Picture
    payload_bytes: int
    reached: bool

    @property
    def file_bytes(self) -> int:
        """Size of the file."""
        return len(self.file)


def compress_to(codec: Codec, crop: Picture, target_bytes: int, *, measure: Measure) -> Compressed:
    """Compress a crop at the highest setting that fits, or else to the fewest bytes.

    The setting is found by bisection; then a few higher settings are tried.

    Args:
        codec: a codec.
        crop: (height, width, 3) RGB.
        target_bytes: size limit.
        measure: which bytes count.
    """
    size = len if measure == "file" else codec.payload_bytes

    @cache
    def smallest_file(step: int) -> bytes:
        return min(codec.encode(crop, codec.settings[step]), key=size)

    fits, too_large = -1, len(codec.settings)
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        if size(smallest_file(middle)) <= target_bytes:
            fits = middle
        else:
            too_large = middle
    steps = range(max(fits, 0), min(too_large + _LOOK_AHEAD + 1, len(codec.settings)))
    files = [smallest_file(step) for step in steps]
    fitting = [file for file in files if size(file) <= target_bytes]
    chosen = fitting[-1] if fitting else min(files, key=size)
    return Compressed(
        file=chosen,
        crop=codec.decode(chosen),
        payload_bytes=codec.payload_bytes(chosen),
        reached=bool(fitting),
    )
