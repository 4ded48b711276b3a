"""Read the structure of a JPEG file from its markers, without decoding pixels."""

import re
from dataclasses import dataclass

_END, _SCAN = 0xD9, 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # these three are tables and an extension
_PROGRESSIVE_FRAMES = {0xC2, 0xC6, 0xCA, 0xCE}
_METADATA = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # except JFIF and Adobe, which define colours
_ADOBE, _ADOBE_BYTES = 0xEE, 12
_COEFFICIENTS = 64
# In entropy-coded data, 0xFF is followed by 0 or by a restart number.
_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")


@dataclass(frozen=True, slots=True)
class JpegStructure:
    """The structure of a JPEG file.

    Attributes:
        scans: number of scans over the pixels.
        buffered: whether a decoder must keep the coefficients of the whole picture.
        samples_per_pixel: coefficients per pixel, with chroma subsampling.
        complete: whether the scans contain every coefficient in full precision. A progressive
            file truncated between two scans ends correctly, but lacks detail.
        ended: whether the end marker is present.
        metadata: segments that decoding does not need, as (start, stop).
    """

    scans: int
    buffered: bool
    samples_per_pixel: float
    complete: bool
    ended: bool
    metadata: tuple[tuple[int, int], ...]


def read_structure(data: bytes) -> JpegStructure:
    """Read the markers as far as possible; never fails."""
    walk = _Walk()
    offset = 2
    while found := _MARKER.search(data, offset):
        begin, offset = found.start(), found.end()
        marker = data[offset - 1]
        if marker == _END:
            walk.ended = True
            break
        stop = offset + int.from_bytes(data[offset : offset + 2])
        if stop > len(data):
            break
        walk.segment(marker, data[offset + 2 : stop], (begin, stop))
        offset = max(stop, offset)
    return walk.structure()


class _Walk:
    def __init__(self) -> None:
        self.ended = False
        self._scans = 0
        self._buffered = False
        self._progressive = False
        self._sampling: dict[int, int] = {}
        self._metadata: list[tuple[int, int]] = []
        self._precision: dict[int, list[int | None]] = {}
        """For each component, the lowest bit received of each coefficient."""

    def segment(self, marker: int, body: bytes, place: tuple[int, int]) -> None:
        if marker in _FRAMES and not self._sampling:
            self._frame(marker, body)
        elif marker == _SCAN:
            self._scan(body)
        elif marker in _METADATA or (marker == _ADOBE and len(body) < _ADOBE_BYTES):
            self._metadata.append(place)

    def _frame(self, marker: int, body: bytes) -> None:
        self._progressive = marker in _PROGRESSIVE_FRAMES
        for start in range(6, len(body) - 2, 3):
            self._sampling[body[start]] = (body[start + 1] >> 4) * (body[start + 1] & 15)
            self._precision[body[start]] = [None] * _COEFFICIENTS

    def _scan(self, body: bytes) -> None:
        self._scans += 1
        count = body[0] if body else 0
        components = [body[1 + 2 * position] for position in range(min(count, len(body) // 2))]
        if self._progressive or len(components) < len(self._sampling):
            self._buffered = True
        first, last, low = 0, _COEFFICIENTS - 1, 0
        if self._progressive and len(body) >= 2 * count + 4:
            first, last, low = body[-3], min(body[-2], _COEFFICIENTS - 1), body[-1] & 15
        for component in components:
            if precision := self._precision.get(component):
                precision[first : last + 1] = [low] * (last + 1 - first)

    def structure(self) -> JpegStructure:
        most = max(self._sampling.values(), default=1) or 1
        return JpegStructure(
            scans=self._scans,
            buffered=self._buffered,
            samples_per_pixel=sum(self._sampling.values()) / most,
            complete=all(low == 0 for lows in self._precision.values() for low in lows),
            ended=self.ended,
            metadata=tuple(self._metadata),
        )
