"""The paper's results, tables 1 and 2, on all 13,233 images of LFW.

Source: N. Bian et al., "A Deep Image Compression Framework for Face Recognition", 2019. Sizes are
of the whole set; its "MB" are taken as 2^20 bytes.
"""

from dataclasses import dataclass

IMAGES = 13_233
_MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row of table 1.

    Attributes:
        approach: the paper's label.
        mebibytes: size of the whole set.
        accuracy: on LFW, in [0, 1].
    """

    approach: str
    mebibytes: float
    accuracy: float

    @property
    def bytes_mean(self) -> float:
        """Mean bytes per face."""
        return self.mebibytes * _MEBIBYTE / IMAGES


ORIGINAL = PaperRow("original LFW, 112x96", 30.6, 0.9928)
JOINT = PaperRow("CompNet after joint training", 4.38, 0.8948)
BEFORE_JOINT = PaperRow("CompNet before joint training", 2.79, 0.7587)

TABLE_1 = (
    ORIGINAL,
    JOINT,
    PaperRow("JPEG2000, ratio 88", 4.41, 0.8593),
    BEFORE_JOINT,
    PaperRow("JPEG, quality 0", 10.8, 0.6787),
    PaperRow("JPEG2000, ratio 134", 2.78, 0.6485),
)


@dataclass(frozen=True, slots=True)
class RoundingRow:
    """A row of table 2, with its column headings corrected.

    As printed, rounding helps. But the text says that it costs 2 to 3 points, and the figures
    printed under "without quantization" are those of table 1, which include it.
    """

    network: str
    rounded: float
    unrounded: float


TABLE_2 = (
    RoundingRow("CompNet before joint training", 0.7587, 0.7837),
    RoundingRow("CompNet after joint training", 0.8948, 0.9223),
)
