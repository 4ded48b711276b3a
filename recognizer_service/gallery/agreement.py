"""How well new faces go with the others of their subject."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection, select

from recognizer_service.gallery.embeddings import vectors_of
from recognizer_service.gallery.records import Agreement, Resemblance
from recognizer_service.gallery.schema import embeddings, faces


def agreements(
    connection: Connection, subject: int, new: Sequence[int], space: str
) -> tuple[Agreement, ...]:
    """One for each new face, in the order of their keys; none if there is nothing to compare with.

    Args:
        connection: to read on.
        subject: key of the subject.
        new: keys of the new faces; the earlier ones have lower keys.
        space: in which they are compared; faces without an embedding in it are left out.
    """
    rows = connection.execute(
        select(faces.c.key, faces.c.id, faces.c.codec_id, embeddings.c.vector)
        .join_from(faces, embeddings)
        .where(faces.c.subject_key == subject, embeddings.c.space == space)
        .where(faces.c.key <= max(new))
        .order_by(faces.c.key)
    ).all()
    added = [row for row in rows if row.key in new]
    compared = [row for row in rows if row.key < min(new)] or added
    if not added or len(rows) == 1:
        return ()
    cosines = np.clip(np.inner(vectors_of(added), vectors_of(compared)), -1, 1).tolist()
    return tuple(
        Agreement(
            face_id=face.id,
            codec_id=face.codec_id,
            others=tuple(
                Resemblance(other.id, other.codec_id, similarity)
                for other, similarity in zip(compared, similarities, strict=True)
                if other.id != face.id
            ),
        )
        for face, similarities in zip(added, cosines, strict=True)
    )
