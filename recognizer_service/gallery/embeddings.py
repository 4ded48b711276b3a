"""Reading embeddings from the database."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from recognizer_service.gallery.databases import Database
from recognizer_service.gallery.limits import EMBEDDING_SIZE
from recognizer_service.gallery.schema import embeddings


def vectors_of(rows: Sequence[Any]) -> NDArray[np.float32]:
    """The embeddings of some rows: (N, 512)."""
    vectors = np.frombuffer(b"".join(row.vector for row in rows), np.float32)
    return vectors.reshape(-1, EMBEDDING_SIZE)


def read_embeddings(
    database: Database, space: str, keys: Sequence[int]
) -> tuple[list[int], NDArray[np.float32]]:
    """Those of the faces with these N keys that are there: M keys, and unit vectors (M, 512)."""
    query = select(embeddings.c.face_key, embeddings.c.vector).where(
        embeddings.c.face_key.in_(keys), embeddings.c.space == space
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
    return [row.face_key for row in rows], vectors_of(rows)
