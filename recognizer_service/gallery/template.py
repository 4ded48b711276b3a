"""Scoring a subject by its mean template: the mean of its faces' embeddings, at unit length."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from recognizer_service.gallery.codec_thresholds import CodecThresholds
from recognizer_service.gallery.collection_records import SubjectScore
from recognizer_service.gallery.embeddings import vectors_of
from recognizer_service.gallery.records import Embedding, SubjectHit
from recognizer_service.gallery.schema import collections, embeddings, faces, subjects

LEAST_CANDIDATES = 50
"""Subjects whose templates are compared with a probe: those with the nearest single faces. A
subject outside them would have to be found by its mean though none of its faces is near."""


def scores_by_template(connection: Connection, collection_key: int) -> bool:
    """Whether a collection scores its subjects so."""
    query = select(collections.c.subject_score).where(collections.c.key == collection_key)
    return connection.scalar(query) == SubjectScore.MEAN_TEMPLATE


def template_similarity(vectors: NDArray[np.float32], probe: Embedding) -> float:
    """Cosine of the mean of (N, D) embeddings to a probe, in [-1, 1]."""
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
    """The same subjects with the similarity of their templates, in no order.

    A template of faces of several codecs has to reach what the strictest of them asks for.
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
        if (rows := rows_of.get(hit.subject_id))  # else deleted meanwhile
    ]
