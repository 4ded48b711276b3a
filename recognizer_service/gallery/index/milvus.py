"""Faces in Milvus: one collection of a server or cluster for each embedding space.

It holds the faces of all the gallery's collections, told apart by their keys: Milvus is made for
few large collections. Every search and count asks for strong consistency, so what one process
has added another finds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from grpc import RpcError
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient, MilvusException

from recognizer_service.gallery.storage.opening import Milvus, MilvusIndexType
from recognizer_service.gallery.types import Embedding
from shared.errors import Unavailable

_TIMEOUT_S = 30.0
# At rest the client would ping every ten seconds, and servers that count pings hang up on it.
# Nor does it go through the HTTP proxy that the environment names.
_GRPC_OPTIONS = {"grpc.keepalive_permit_without_calls": False, "grpc.enable_http_proxy": 0}
_MOST_ANSWERS = 16_384  # more than that Milvus does not give
_KEYS_PER_CALL = 4096
_STRONG = "Strong"
_PARAMETERS: dict[MilvusIndexType, dict[str, int]] = {
    "FLAT": {},
    "HNSW": {"M": 16, "efConstruction": 200},
    "DISKANN": {},
}


@contextmanager
def answering() -> Iterator[None]:
    """Whatever keeps Milvus from doing what it is asked becomes Unavailable INDEX_UNAVAILABLE."""
    try:
        yield
    except (MilvusException, RpcError) as error:
        reason = error.message if isinstance(error, MilvusException) else error
        line = str(reason).partition("\n")[0].strip()
        raise Unavailable("INDEX_UNAVAILABLE", f"Milvus request failed ({line})") from error


def connect(milvus: Milvus) -> MilvusClient:
    """A connection, safe to use from threads.

    Raises:
        Unavailable: Milvus does not answer, or not to us (INDEX_UNAVAILABLE).
    """
    token = milvus.token.get_secret_value() if milvus.token else ""
    with answering():
        return MilvusClient(
            uri=milvus.uri, token=token, timeout=_TIMEOUT_S, grpc_options=_GRPC_OPTIONS
        )


class MilvusFaces:
    """All faces of one embedding space."""

    def __init__(self, client: MilvusClient, name: str, index_type: MilvusIndexType) -> None:
        """Name them; nothing is made yet.

        Args:
            client: the connection.
            name: of the Milvus collection.
            index_type: if it is made.
        """
        self.name = name
        self._client = client
        self._index_type = index_type

    def exist(self) -> bool:
        """Whether the Milvus collection is there."""
        with answering():
            return bool(self._client.has_collection(self.name))

    def create(self, size: int) -> None:
        """Make the Milvus collection, for embeddings of so many numbers."""
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("face", DataType.INT64, is_primary=True)
        schema.add_field("collection", DataType.INT64, is_partition_key=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=size)
        index = self._client.prepare_index_params()
        parameters = _PARAMETERS[self._index_type]
        index.add_index(
            "vector", index_type=self._index_type, metric_type="COSINE", params=parameters
        )
        with answering():
            self._client.create_collection(
                self.name, schema=schema, index_params=index, consistency_level=_STRONG
            )

    def put(self, faces: Mapping[int, tuple[int, Embedding]]) -> None:
        """Add faces, or replace those that are there: by key, their collection and embedding."""
        rows = [
            {"face": key, "collection": owner, "vector": embedding}
            for key, (owner, embedding) in faces.items()
        ]
        with answering():
            self._client.upsert(self.name, rows)

    def remove(self, keys: Sequence[int]) -> None:
        """Take faces out, those of them that are there."""
        with answering():
            self._client.delete(self.name, ids=list(keys))

    def count(self, collection_key: int | None = None) -> int:
        """How many faces a collection has; None: all of them."""
        with answering():
            found = self._client.query(
                self.name,
                filter=_of(collection_key),
                output_fields=["count(*)"],
                consistency_level=_STRONG,
            )
        return int(found[0]["count(*)"])

    def keys(self, collection_key: int) -> list[int]:
        """The keys of a collection's faces, ascending."""
        keys: list[int] = []
        with answering():
            pages = self._client.query_iterator(
                self.name,
                batch_size=_KEYS_PER_CALL,
                filter=_of(collection_key),
                output_fields=["face"],
                consistency_level=_STRONG,
            )
            while page := pages.next():
                keys += [row["face"] for row in page]
            pages.close()
        return sorted(keys)

    def nearest(self, collection_key: int, embedding: Embedding, count: int) -> dict[int, float]:
        """The faces of a collection that are nearest to a unit vector, best first."""
        with answering():
            (hits,) = self._client.search(
                self.name,
                [embedding],
                anns_field="vector",
                filter=_of(collection_key),
                limit=min(count, _MOST_ANSWERS),
                consistency_level=_STRONG,
            )
        return {hit["face"]: float(np.clip(hit["distance"], -1, 1)) for hit in hits}


def _of(collection_key: int | None) -> str:
    return "" if collection_key is None else f"collection == {collection_key}"


class MilvusIndex:
    """The faces of one collection; see `FaceIndex`."""

    def __init__(
        self, faces: MilvusFaces, collection_key: int, follow: Callable[[], object]
    ) -> None:
        """See a part of the faces as an index.

        Args:
            faces: of all collections.
            collection_key: of this one.
            follow: brings them to what the database holds.
        """
        self._faces = faces
        self._collection_key = collection_key
        self._follow = follow

    def __len__(self) -> int:
        """How many faces it holds."""
        return self._faces.count(self._collection_key)

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Follow the database, whose log tells of these faces, and of any that a crash left."""
        del keys, embeddings
        self._follow()

    def remove(self, keys: Sequence[int]) -> None:
        """Follow the database, as with `add`."""
        del keys
        self._follow()

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """The faces nearest to a unit vector: key to cosine in [-1, 1], best first."""
        return self._faces.nearest(self._collection_key, embedding, count)

    def keys(self) -> list[int]:
        """The keys of all faces, ascending."""
        return self._faces.keys(self._collection_key)
