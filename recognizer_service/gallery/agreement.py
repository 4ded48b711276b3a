"""How well new faces go with those that their subject had before."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection, select

from recognizer_service.gallery.embeddings import vectors_of
from recognizer_service.gallery.records import Agreement
from recognizer_service.gallery.schema import embeddings, faces


def agreements(
    connection: Connection, subject: int, new: Sequence[int], space: str
) -> tuple[Agreement, ...]:
    """One for each new face of a subject that had faces before, in the order of their keys.

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
    earlier = [row for row in rows if row.key < min(new)]
    added = [row for row in rows if row.key in new]
    if not (earlier and added):
        return ()
    cosines = np.clip(np.inner(vectors_of(added), vectors_of(earlier)), -1, 1)
    return tuple(
        Agreement(
            face_id=face.id,
            similarity=float(similarities.max()),
            codec_ids=(face.codec_id, earlier[int(similarities.argmax())].codec_id),
            earlier_faces=len(earlier),
        )
        for face, similarities in zip(added, cosines, strict=True)
    )
