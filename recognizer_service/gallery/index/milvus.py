"""Faces in Milvus: one Milvus collection per embedding space.

It holds the faces of all collections of the gallery, distinguished by key: Milvus is made for few
large collections. Searches and counts use strong consistency, so that a process finds what another
has added.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from grpc import RpcError
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient, MilvusException

from recognizer_service.gallery.storage.locations import Milvus, MilvusIndexType
from recognizer_service.gallery.types import Embedding
from shared.errors import Unavailable

_TIMEOUT_S = 30.0
# When idle, the client would ping every ten seconds, and some servers disconnect it for that. The
# environment's HTTP proxy is not used.
_GRPC_OPTIONS = {"grpc.keepalive_permit_without_calls": False, "grpc.enable_http_proxy": 0}
_MOST_ANSWERS = 16_384  # Milvus's limit
_KEYS_PER_CALL = 4096
_STRONG = "Strong"
_PARAMETERS: dict[MilvusIndexType, dict[str, int]] = {
    "FLAT": {},
    "HNSW": {"M": 16, "efConstruction": 200},
    "DISKANN": {},
}


@contextmanager
def answering() -> Iterator[None]:
    """Turn errors of Milvus into Unavailable INDEX_UNAVAILABLE."""
    try:
        yield
    except (MilvusException, RpcError) as error:
        reason = error.message if isinstance(error, MilvusException) else error
        line = str(reason).partition("\n")[0].strip()
        raise Unavailable("INDEX_UNAVAILABLE", f"Milvus request failed ({line})") from error


def connect(milvus: Milvus) -> MilvusClient:
    """Connect to Milvus; the connection is thread-safe.

    Raises:
        Unavailable: Milvus does not answer or refuses the connection (INDEX_UNAVAILABLE).
    """
    token = milvus.token.get_secret_value() if milvus.token else ""
    with answering():
        return MilvusClient(
            uri=milvus.uri, token=token, timeout=_TIMEOUT_S, grpc_options=_GRPC_OPTIONS
        )


class MilvusFaces:
    """All faces of one embedding space."""

    def __init__(self, client: MilvusClient, name: str, index_type: MilvusIndexType) -> None:
        """Refer to a Milvus collection without creating it.

        Args:
            client: the connection.
            name: name of the Milvus collection.
            index_type: used when it is created.
        """
        self.name = name
        self._client = client
        self._index_type = index_type

    def exist(self) -> bool:
        """Return whether the Milvus collection exists."""
        with answering():
            return bool(self._client.has_collection(self.name))

    def create(self, size: int) -> None:
        """Create the Milvus collection for embeddings of this dimension."""
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
        """Insert or replace faces: by key, their collection and embedding."""
        rows = [
            {"face": key, "collection": owner, "vector": embedding}
            for key, (owner, embedding) in faces.items()
        ]
        with answering():
            self._client.upsert(self.name, rows)

    def remove(self, keys: Sequence[int]) -> None:
        """Remove faces; unknown keys are ignored."""
        with answering():
            self._client.delete(self.name, ids=list(keys))

    def count(self, collection_key: int | None = None) -> int:
        """Return the number of faces of a collection; None means all collections."""
        with answering():
            found = self._client.query(
                self.name,
                filter=_of(collection_key),
                output_fields=["count(*)"],
                consistency_level=_STRONG,
            )
        return int(found[0]["count(*)"])

    def keys(self, collection_key: int) -> list[int]:
        """Return the keys of a collection's faces, ascending."""
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
        """Return the faces of a collection nearest to a unit vector, best first."""
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
        """Create a view of one collection's faces.

        Args:
            faces: faces of all collections.
            collection_key: the collection.
            follow: applies the database's change log.
        """
        self._faces = faces
        self._collection_key = collection_key
        self._follow = follow

    def __len__(self) -> int:
        """Return the number of faces."""
        return self._faces.count(self._collection_key)

    def add(self, keys: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Apply the change log, which includes these faces and any that a crash left unapplied."""
        del keys, embeddings
        self._follow()

    def remove(self, keys: Sequence[int]) -> None:
        """Apply the change log, as `add` does."""
        del keys
        self._follow()

    def nearest(self, embedding: Embedding, count: int) -> dict[int, float]:
        """Return the faces nearest to a unit vector: key to cosine in [-1, 1], best first."""
        return self._faces.nearest(self._collection_key, embedding, count)

    def keys(self) -> list[int]:
        """Return the keys of all faces, ascending."""
        return self._faces.keys(self._collection_key)
