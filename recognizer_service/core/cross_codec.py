"""Embedding maps that another model version wrote: decoded by that one, embedded by this one."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.reembed import CodedPng
from recognizer_service.model_versions import model_of_codec
from shared.errors import UnknownCodec
from shared.inference.map_decoder import MapDecoder


class CrossCodecEmbedder:
    """Embeds maps of every codec that any version in the model directory can decode.

    A codec that the model itself knows goes straight through its networks. Another is painted
    by the RecNet of whichever version has it, as pixels, and the pixels are embedded.
    """

    def __init__(self, decoder: MapDecoder, *, device: str = "cpu") -> None:
        """Take the model's networks; those of other versions are loaded once they are needed.

        Args:
            decoder: the model whose extractor embeds.
            device: of torch, where other versions' networks run.
        """
        self._decoder = decoder
        self._device = device
        self._by_codec = dict.fromkeys(decoder.formats, decoder)

    @property
    def embedding_space(self) -> str:
        """Of the model's extractor."""
        return self._decoder.embedding_space

    @property
    def embedding_size(self) -> int:
        """Numbers in an embedding of it."""
        return self._decoder.embedding_size

    def require(self, codec_ids: Iterable[str]) -> None:
        """Load what decodes these codecs.

        Raises:
            UnknownCodec: no version of any family has one of them.
        """
        for codec_id in codec_ids:
            self._decoder_of(codec_id)

    def check(self, codec_id: str, png: bytes) -> None:
        """Refuse a map that cannot be decoded, of a codec whose decoder is loaded.

        Raises:
            InvalidCompactMap: not a legal PNG of its codec.
        """
        if decoder := self._by_codec.get(codec_id):
            decoder.unpack(codec_id, png)

    def embed(self, maps: Sequence[CodedPng]) -> NDArray[np.float32]:
        """Unit vectors (N, D) of N maps.

        Raises:
            UnknownCodec: no version of any family has one of the codecs.
            InvalidCompactMap: not a legal PNG of its codec.
        """
        rows_of: defaultdict[str, list[int]] = defaultdict(list)
        for row, (codec_id, _) in enumerate(maps):
            rows_of[codec_id].append(row)
        embeddings = np.empty((len(maps), self._decoder.embedding_size), np.float32)
        for codec_id, rows in rows_of.items():
            embeddings[rows] = self._embed(codec_id, [maps[row][1] for row in rows])
        return embeddings

    def _embed(self, codec_id: str, pngs: Sequence[bytes]) -> NDArray[np.float32]:
        decoder = self._decoder_of(codec_id)
        maps = [(codec_id, decoder.unpack(codec_id, png)) for png in pngs]
        if decoder is self._decoder:
            return decoder.embed(maps)
        return self._decoder.embed_crops(decoder.reconstruct(maps))

    def _decoder_of(self, codec_id: str) -> MapDecoder:
        if codec_id not in self._by_codec:
            ours = self._decoder.model
            models = ours.path.parents[1]
            model = model_of_codec(models, codec_id, ours.manifest.alignment)
            if model is None:
                raise UnknownCodec(codec_id, sorted(self._by_codec))
            decoder = MapDecoder(model, device=self._device)
            self._by_codec = dict.fromkeys(decoder.formats, decoder) | self._by_codec
        return self._by_codec[codec_id]
