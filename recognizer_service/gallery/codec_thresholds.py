"""How similar an enrolled face must be, which depends on the codec of its map."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shared.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class CodecThresholds:
    """The similarity that a match with one probe must reach, by the codec of the enrolled face.

    Attributes:
        of_codec: cosines in [-1, 1] by codec id.
        others: that of all other codecs; None: unknown.
    """

    of_codec: Mapping[str, float] = field(default_factory=dict)
    others: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no cosine.

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
        """What no match is below."""
        return min(self._known(), default=0.0)

    def knows(self, codec_id: str) -> bool:
        """Whether a codec has a threshold."""
        return codec_id in self.of_codec or self.others is not None

    def margin(self, codec_id: str, similarity: float) -> float:
        """By how much a similarity exceeds its threshold: a match is at 0 or above.

        An unknown threshold is taken as the lowest: who may be a match is not passed over.
        """
        threshold = self.of_codec.get(codec_id, self.others)
        return similarity - (self.lowest if threshold is None else threshold)

    def strictest(self, codec_ids: Iterable[str]) -> str:
        """The codec that asks for most; one whose threshold is unknown may ask for anything."""
        return max(codec_ids, key=lambda each: (not self.knows(each), -self.margin(each, 0)))

    def _known(self) -> list[float]:
        return [*self.of_codec.values(), *([] if self.others is None else [self.others])]
