"""Compares each face of a subject with its other faces and with other subjects."""

import numpy as np
from sqlalchemy import select

from recognizer_service.gallery.context import Store
from recognizer_service.gallery.search import search
from recognizer_service.gallery.storage.rows import subject_key, vectors_of
from recognizer_service.gallery.storage.schema import embeddings, faces
from recognizer_service.gallery.types import Agreement, FaceReview, Resemblance

_OTHER_SUBJECTS = 10


def review(
    store: Store, collection_id: str, subject_id: str, *, space: str | None = None
) -> tuple[FaceReview, ...]:
    """Return one review per face of a subject; see `Gallery.review`."""
    space = store.cache_in(space).space
    with store.database.reading() as connection:
        rows = connection.execute(
            select(faces.c.id, faces.c.codec_id, embeddings.c.vector)
            .join_from(faces, embeddings)
            .where(faces.c.subject_key == subject_key(connection, collection_id, subject_id))
            .where(embeddings.c.space == space)
            .order_by(faces.c.key)
        ).all()
    if not rows:
        return ()
    vectors = vectors_of(rows)
    cosines = np.clip(np.inner(vectors, vectors), -1, 1)
    reviews = []
    for row, vector, similarities in zip(rows, vectors, cosines, strict=True):
        hits = search(store, collection_id, vector, _OTHER_SUBJECTS + 1, space=space)
        others = tuple(hit for hit in hits if hit.subject_id != subject_id)
        own = tuple(
            Resemblance(other.id, other.codec_id, float(similarity))
            for other, similarity in zip(rows, similarities, strict=True)
            if other.id != row.id
        )
        reviews.append(FaceReview(Agreement(row.id, row.codec_id, own), others))
    return tuple(reviews)
