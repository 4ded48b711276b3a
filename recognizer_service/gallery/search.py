"""Search in a collection (1:N) and comparison with a subject (1:1)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, select

from recognizer_service.gallery.codec_thresholds import CodecThresholds
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.index import FaceIndex
from recognizer_service.gallery.limits import (
    MAX_SUBJECTS_PER_SEARCH,
    as_embedding,
    check_range,
    shown,
)
from recognizer_service.gallery.storage.rows import (
    collection_key,
    collection_not_found,
    subject_key,
)
from recognizer_service.gallery.storage.schema import collections, embeddings, faces, subjects
from recognizer_service.gallery.storage.spaces import vectors_of
from recognizer_service.gallery.types import (
    Agreement,
    Embedding,
    FaceReview,
    Resemblance,
    SubjectHit,
    SubjectScore,
)
from shared.errors import FailedPrecondition

LEAST_CANDIDATES = 50
"""Number of subjects, those with the nearest faces, whose templates are compared with a probe. A
subject outside them could match only if its mean were near and none of its faces.
"""


def scores_by_template(connection: Connection, collection_key: int) -> bool:
    """Return whether a collection scores subjects by template."""
    query = select(collections.c.subject_score).where(collections.c.key == collection_key)
    return connection.scalar(query) == SubjectScore.MEAN_TEMPLATE


def template_similarity(vectors: NDArray[np.float32], probe: Embedding) -> float:
    """Return the cosine of the mean of (N, D) embeddings to a probe, in [-1, 1]."""
    total = vectors.sum(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    return float(np.clip(total @ probe / length, -1, 1)) if length else 0.0


def by_template(
    connection: Connection,
    collection_key: int,
    hits: Sequence[SubjectHit],
    probe: Embedding,
    *,
    space: str,
    thresholds: CodecThresholds,
) -> list[SubjectHit]:
    """Return the same subjects with the similarity of their templates, unordered.

    A template of faces of several codecs must reach the highest of their thresholds.
    """
    rows_of = defaultdict(list)
    for row in connection.execute(
        select(subjects.c.id, faces.c.codec_id, embeddings.c.vector)
        .join_from(subjects, faces)
        .join_from(faces, embeddings)
        .where(subjects.c.collection_key == collection_key)
        .where(subjects.c.id.in_([hit.subject_id for hit in hits]))
        .where(embeddings.c.space == space)
    ):
        rows_of[row.id].append(row)
    return [
        replace(
            hit,
            codec_id=thresholds.strictest(row.codec_id for row in rows),
            similarity=template_similarity(vectors_of(rows), probe),
        )
        for hit in hits
        if (rows := rows_of.get(hit.subject_id))  # else deleted in the meantime
    ]


_FACES_PER_SUBJECT_GUESS = 4
_LEAST_FACES = 32  # a deeper search costs less than a second one
_MOST_FACES = 16_384  # Milvus's limit, and half of SQLite's limit per statement
_GROWTH = 4
_OTHER_SUBJECTS = 10
_BY_SIMILARITY = CodecThresholds()

_HIT = select(
    faces.c.key,
    subjects.c.id.label("subject_id"),
    subjects.c.display_name,
    faces.c.id.label("face_id"),
    faces.c.codec_id,
    faces.c.png,
).join_from(faces, subjects)

# Built once: SQLAlchemy takes longer to build a statement than SQLite to execute it.
_COLLECTION = select(collections.c.key, collections.c.subject_score).where(
    collections.c.id == bindparam("id")
)
# The collection is selected but not a condition: from some dozen faces on, SQLite would scan all
# subjects of the collection instead of looking up the faces.
_CONFIRMED = _HIT.add_columns(subjects.c.collection_key).where(
    faces.c.key.in_(bindparam("faces", expanding=True))
)


def search(
    store: Store,
    collection_id: str,
    probe: Embedding,
    count: int,
    *,
    thresholds: CodecThresholds = _BY_SIMILARITY,
    space: str | None = None,
) -> list[SubjectHit]:
    """Return the `count` best matches of a probe, best first; see `Gallery.search`."""
    cache = store.cache_in(space)
    probe = as_embedding(probe, cache.size)
    check_range(count, 1, MAX_SUBJECTS_PER_SEARCH, "max_subjects")
    key, templates = _collection(store, collection_id)
    index = cache.index_of(key)
    if not templates:
        return _by_best_face(store, key, index, probe, count=count, thresholds=thresholds)
    most = max(count, LEAST_CANDIDATES)
    hits = _by_best_face(store, key, index, probe, count=most, thresholds=thresholds)
    with store.database.reading() as connection:
        scored = by_template(connection, key, hits, probe, space=cache.space, thresholds=thresholds)
    return _best_first(scored, thresholds)[:count]


def _collection(store: Store, collection_id: str) -> tuple[int, bool]:
    """Return the key of a collection, and whether it scores subjects by template."""
    with store.database.reading() as connection:
        row = connection.execute(_COLLECTION, {"id": collection_id}).one_or_none()
    if row is None:
        raise collection_not_found(collection_id)
    return row.key, row.subject_score == SubjectScore.MEAN_TEMPLATE


def _by_best_face(
    store: Store,
    key: int,
    index: FaceIndex,
    probe: Embedding,
    *,
    count: int,
    thresholds: CodecThresholds,
) -> list[SubjectHit]:
    """Search deep enough that no face further down can belong to a better match.

    Faces further down are less similar, but may have a lower threshold.
    """
    wanted = max(_LEAST_FACES, count * _FACES_PER_SUBJECT_GUESS)
    while True:
        nearest = index.nearest(probe, wanted)
        hits = _best_of_each_subject(_confirmed(store, key, nearest), thresholds)
        if len(hits) >= count:
            most_below = min(nearest.values()) - thresholds.lowest
            if _margin(hits[count - 1], thresholds) >= most_below:
                return hits[:count]
        if wanted >= min(len(index), _MOST_FACES):
            return hits[:count]
        wanted = min(_GROWTH * wanted, _MOST_FACES)


def _confirmed(store: Store, key: int, nearest: dict[int, float]) -> Iterator[SubjectHit]:
    """Return the nearest faces that exist in the database, best first."""
    with store.database.reading() as connection:
        found = connection.execute(_CONFIRMED, {"faces": list(nearest)})
        rows = {row.key: row for row in found if row.collection_key == key}
    for face, similarity in nearest.items():
        if row := rows.get(face):
            yield _hit(row, similarity)


def _hit(row: Sequence[Any], similarity: float) -> SubjectHit:
    # Names would take twice as long.
    subject_id, display_name, face_id, codec_id, png = row[1:6]
    return SubjectHit(subject_id, display_name, face_id, codec_id, similarity, codec_id, png)


def _best_of_each_subject(
    hits: Iterable[SubjectHit], thresholds: CodecThresholds
) -> list[SubjectHit]:
    best: dict[str, SubjectHit] = {}
    for hit in _best_first(hits, thresholds):
        best.setdefault(hit.subject_id, hit)
    return list(best.values())


def _best_first(hits: Iterable[SubjectHit], thresholds: CodecThresholds) -> list[SubjectHit]:
    return sorted(hits, key=lambda hit: _margin(hit, thresholds), reverse=True)


def _margin(hit: SubjectHit, thresholds: CodecThresholds) -> float:
    return thresholds.margin(hit.codec_id, hit.similarity)


def similarity_to_subject(
    store: Store,
    collection_id: str,
    subject_id: str,
    probe: Embedding,
    *,
    thresholds: CodecThresholds = _BY_SIMILARITY,
    space: str | None = None,
) -> SubjectHit:
    """Score one subject against a probe; see `Gallery.similarity_to_subject`."""
    cache = store.cache_in(space)
    probe = as_embedding(probe, cache.size)
    with store.database.reading() as connection:
        key = subject_key(connection, collection_id, subject_id)
        templates = scores_by_template(connection, collection_key(connection, collection_id))
        rows = connection.execute(
            _HIT.add_columns(embeddings.c.vector)
            .join_from(faces, embeddings)
            .where(faces.c.subject_key == key)
            .where(embeddings.c.space == cache.space)
            .order_by(faces.c.key)
        ).all()
    if not rows:
        raise FailedPrecondition(
            "SUBJECT_HAS_NO_FACES",
            f"subject {shown(subject_id)} has no faces to compare with",
            field="subject_id",
        )
    vectors = vectors_of(rows)
    cosines = np.clip(vectors @ probe, -1, 1).tolist()
    hits = [_hit(row, cosine) for row, cosine in zip(rows, cosines, strict=True)]
    best = _best_first(hits, thresholds)[0]
    if not templates:
        return best
    codec_id = thresholds.strictest(row.codec_id for row in rows)
    return replace(best, codec_id=codec_id, similarity=template_similarity(vectors, probe))


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
