"""Similarity thresholds by codec of the enrolled face."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shared.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class CodecThresholds:
    """The thresholds of one probe by the codec of the enrolled face.

    Attributes:
        of_codec: cosines in [-1, 1] by codec id.
        others: threshold of all other codecs; None if unknown.
    """

    of_codec: Mapping[str, float] = field(default_factory=dict)
    others: float | None = None

    def __post_init__(self) -> None:
        """Check that all thresholds are cosines.

        Raises:
            InvalidInput: OUT_OF_RANGE.
        """
        for threshold in self._known():
            if not -1 <= threshold <= 1:
                raise InvalidInput(
                    "OUT_OF_RANGE", f"a similarity of {threshold} is asked; it must be in [-1, 1]"
                )

    @property
    def lowest(self) -> float:
        """The lowest threshold; no match is below it."""
        return min(self._known(), default=0.0)

    def knows(self, codec_id: str) -> bool:
        """Whether a codec has a threshold."""
        return codec_id in self.of_codec or self.others is not None

    def margin(self, codec_id: str, similarity: float) -> float:
        """Return how far a similarity exceeds its threshold; at 0 or above it is a match.

        An unknown threshold counts as the lowest, so that no possible match is missed.
        """
        threshold = self.of_codec.get(codec_id, self.others)
        return similarity - (self.lowest if threshold is None else threshold)

    def strictest(self, codec_ids: Iterable[str]) -> str:
        """Return the codec with the highest threshold; an unknown one counts as the highest."""
        return max(codec_ids, key=lambda each: (not self.knows(each), -self.margin(each, 0)))

    def _known(self) -> list[float]:
        return [*self.of_codec.values(), *([] if self.others is None else [self.others])]
