"""From maps as they came in to embeddings: checked, unpacked, and run through the networks."""

from collections.abc import Sequence

from recognizer_service.batcher import Batcher
from recognizer_service.gallery.records import Embedding
from recognizer_service.questions import FaceMap, Timings
from shared.errors import CompactfaceError, InvalidInput
from shared.inference.map_decoder import CodedMap, MapDecoder, Symbols


class Embedder:
    """Embeds maps, those of different requests together.

    Args:
        decoder: knows the codecs.
        batcher: feeds maps to `decoder.embed`, many at a time.
    """

    def __init__(self, decoder: MapDecoder, batcher: Batcher[CodedMap, Embedding]) -> None:
        self._decoder = decoder
        self._batcher = batcher

    async def embed(self, faces: Sequence[FaceMap], timings: Timings) -> list[Embedding]:
        """Embeddings of some faces, each (D,) float32 of unit length.

        All maps are read before the first one is computed, so that a bad one costs nothing.

        Raises:
            InvalidInput: a map that is none, or an impossible quality.
            UnknownCodec: no decoder for one of the maps.
            Overloaded: too many maps wait for inference.
        """
        with timings.measure("unpack_ms"):
            maps = [(face.codec_id, self.unpack(face)) for face in faces]
        with timings.measure("embed_ms"):
            return await self._batcher.submit(maps)

    def unpack(self, face: FaceMap) -> Symbols:
        """The symbols of a map; raises as `embed`."""
        _check_quality(face)
        try:
            return self._decoder.unpack(face.codec_id, face.png)
        except InvalidInput as error:
            raise error.in_field(f"{face.field}.png") from None
        except CompactfaceError as error:
            raise error.in_field(f"{face.field}.codec_id") from None


def _check_quality(face: FaceMap) -> None:
    if face.quality is not None and not 0 <= face.quality <= 1:
        raise InvalidInput(
            "INVALID_QUALITY",
            f"quality is {face.quality}; it must be in [0, 1]",
            field=f"{face.field}.quality",
        )
