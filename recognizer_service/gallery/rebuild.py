"""Filling the search indexes from the database when a gallery is opened."""

import numpy as np
from sqlalchemy import Connection, exists, func, select

from recognizer_service.gallery.limits import EMBEDDING_SIZE
from recognizer_service.gallery.schema import collections, embeddings, faces, subjects
from recognizer_service.gallery.store import Store
from shared.errors import FailedPrecondition

_CHUNK = 4096


def rebuild(store: Store) -> None:
    """Load every collection's embeddings.

    Raises:
        FailedPrecondition: faces were embedded by another extractor
            (EMBEDDING_SPACE_MISMATCH).
    """
    with store.database.reading() as connection:
        _check_space(connection, store.embedding_space)
        for key in connection.scalars(select(collections.c.key)).all():
            _load(connection, store, key)


def _load(connection: Connection, store: Store, collection_key: int) -> None:
    rows = connection.execution_options(yield_per=_CHUNK).execute(
        select(faces.c.key, embeddings.c.vector)
        .join_from(faces, subjects)
        .join_from(faces, embeddings)
        .where(subjects.c.collection_key == collection_key)
        .where(embeddings.c.space == store.embedding_space)
    )
    index = store.index_of(collection_key)
    for chunk in rows.partitions():
        keys, vectors = zip(*chunk, strict=True)
        index.add(keys, np.frombuffer(b"".join(vectors), np.float32).reshape(-1, EMBEDDING_SIZE))


def _check_space(connection: Connection, space: str) -> None:
    ours = exists().where(embeddings.c.face_key == faces.c.key, embeddings.c.space == space)
    strangers = connection.scalar(select(func.count()).select_from(faces).where(~ours))
    if not strangers:
        return
    theirs = connection.scalar(
        select(func.min(embeddings.c.space)).where(embeddings.c.space != space)
    )
    raise FailedPrecondition(
        "EMBEDDING_SPACE_MISMATCH",
        f"{strangers} faces of the gallery were embedded in space {theirs}, and the model in use "
        f"embeds in {space}; the two cannot be compared: serve the model of {theirs} again, or "
        "open an empty gallery and enrol anew",
        metadata={"gallery": theirs or "", "model": space},
    )
