"""Bringing the search indexes to what the database holds: when it is opened, and later."""

import numpy as np
from sqlalchemy import Connection, Exists, exists, func, select

from recognizer_service.gallery.limits import EMBEDDING_SIZE
from recognizer_service.gallery.schema import collections, embeddings, faces, subjects
from recognizer_service.gallery.store import Cache, Store
from shared.errors import FailedPrecondition

_CHUNK = 4096


def rebuild(store: Store) -> None:
    """Load every collection's embeddings.

    Raises:
        FailedPrecondition: faces were embedded by another extractor
            (EMBEDDING_SPACE_MISMATCH; the metadata `gallery` names a space that can be opened),
            or by none (EMBEDDINGS_MISSING).
    """
    with store.database.reading() as connection:
        _check_space(connection, store.embedding_space)
        refresh(connection, store.cache)


def refresh(connection: Connection, cache: Cache) -> None:
    """Make the indexes hold the faces that are embedded in their space, and no others.

    Costs little where little has changed. Right only as long as faces come with ever higher
    keys, which AUTOINCREMENT sees to, and are embedded in the order of their keys.
    """
    keys = connection.scalars(select(collections.c.key)).all()
    for gone in cache.indexes.keys() - set(keys):
        del cache.indexes[gone]
    for key in keys:
        _refresh(connection, cache, key)


def embedded_in(space: str) -> Exists:
    """Whether a row of `faces` has an embedding in a space."""
    return exists().where(embeddings.c.face_key == faces.c.key, embeddings.c.space == space)


def _refresh(connection: Connection, cache: Cache, collection_key: int) -> None:
    index = cache.index_of(collection_key)
    held = index.keys()
    of_collection = (
        select(faces.c.key, embeddings.c.vector)
        .join_from(faces, subjects)
        .join_from(faces, embeddings)
        .where(subjects.c.collection_key == collection_key)
        .where(embeddings.c.space == cache.space)
    )
    if held:
        stored = connection.scalars(of_collection.with_only_columns(faces.c.key)).all()
        if gone := np.setdiff1d(held, stored).tolist():
            index.remove(gone)
    newest = held[-1] if held else 0
    rows = connection.execution_options(yield_per=_CHUNK).execute(
        of_collection.where(faces.c.key > newest)
    )
    for chunk in rows.partitions():
        keys, vectors = zip(*chunk, strict=True)
        index.add(keys, np.frombuffer(b"".join(vectors), np.float32).reshape(-1, EMBEDDING_SIZE))


def _check_space(connection: Connection, space: str) -> None:
    strangers = connection.scalar(
        select(func.count()).select_from(faces).where(~embedded_in(space))
    )
    if not strangers:
        return
    # While faces are embedded anew several spaces have some; the one that is served has all.
    theirs = connection.scalar(
        select(embeddings.c.space)
        .where(embeddings.c.space != space)
        .group_by(embeddings.c.space)
        .order_by(func.count().desc())
        .limit(1)
    )
    if theirs is None:
        raise FailedPrecondition(
            "EMBEDDINGS_MISSING",
            f"{strangers} faces of the gallery have no embedding: the file was changed or "
            "damaged; serve a snapshot or restore an export",
        )
    raise FailedPrecondition(
        "EMBEDDING_SPACE_MISMATCH",
        f"{strangers} faces of the gallery were embedded in space {theirs}, and the model in use "
        f"embeds in {space}; the two cannot be compared: run `compactface gallery reembed`, or "
        f"serve the model of {theirs} again",
        metadata={"gallery": theirs, "model": space},
    )
