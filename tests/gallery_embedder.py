"""An extractor for tests: a map's embedding is a random vector seeded with its bytes."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.reembed import CodedPng
from recognizer_service.gallery.types import Embedding
from shared.errors import UnknownCodec
from tests.gallery_faces import new_face

CODEC = new_face(0).codec_id


def vector_of(png: bytes, space: str, size: int = 512) -> Embedding:
    """Where a map lies in a space."""
    seed = hashlib.sha256(space.encode() + png).digest()
    vector = np.random.default_rng(list(seed)).standard_normal(size)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def probe(seed: int, space: str, size: int = 512) -> Embedding:
    """Where the face of a seed lies in a space."""
    return vector_of(new_face(seed).png, space, size)


class SeededEmbedder:
    """Embeds maps of the given codecs into a space.

    Attributes:
        embedding_size: numbers in an embedding of it.
        embedded: how many maps it was given so far.
        before_batch: called before each batch.
    """

    def __init__(
        self,
        space: str,
        *,
        size: int = 512,
        codecs: Collection[str] = (CODEC,),
        before_batch: Callable[[], object] = lambda: None,
    ) -> None:
        self._space = space
        self.embedding_size = size
        self._codecs = codecs
        self.before_batch = before_batch
        self.embedded = 0

    @property
    def embedding_space(self) -> str:
        return self._space

    def require(self, codec_ids: Iterable[str]) -> None:
        for codec_id in codec_ids:
            if codec_id not in self._codecs:
                raise UnknownCodec(codec_id, list(self._codecs))

    def check(self, codec_id: str, png: bytes) -> None:
        """Any bytes are a map here."""

    def embed(self, maps: Sequence[CodedPng]) -> NDArray[np.float32]:
        self.before_batch()
        self.require(codec_id for codec_id, _ in maps)
        self.embedded += len(maps)
        return np.stack([vector_of(png, self._space, self.embedding_size) for _, png in maps])
