"""The best picture that fits into so many bytes."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from shared.evaluation.conventional.codec import Codec, Picture

Measure = Literal["file", "payload"]
"""Which bytes count: those of the file, or those that `Codec.payload_bytes` leaves."""

# Sizes are not quite monotonic in the setting. AVIF's and JPEG XL's wobble by some per cent, so
# that a better setting a few steps up may fit although the next one does not.
_LOOK_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Compressed:
    """A picture that has been through a codec.

    Attributes:
        file: as the codec wrote it.
        crop: what the decoder shows, (height, width, 3) RGB.
        payload_bytes: what of it changes with the picture.
        reached: whether it kept to the target.
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
    """The crop at the highest setting that fits, or else in the fewest bytes.

    Found by bisection; then a few settings above are tried as well, and the highest that fits
    is taken.

    Args:
        codec: any.
        crop: (height, width, 3) RGB.
        target_bytes: the most it may take.
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
