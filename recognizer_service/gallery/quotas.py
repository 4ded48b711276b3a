"""Quotas: faces per subject, and subjects and faces per collection."""

from sqlalchemy import Connection, func, select

from recognizer_service.gallery.limits import MAX_FACES_PER_SUBJECT, shown
from recognizer_service.gallery.storage.schema import collections, faces
from shared.errors import FailedPrecondition


def check_room(connection: Connection, key: int, subject_id: str, more: int) -> None:
    """Raise TOO_MANY_FACES if a subject would exceed its maximum."""
    present = connection.scalar(select(func.count()).where(faces.c.subject_key == key)) or 0
    if present + more > MAX_FACES_PER_SUBJECT:
        raise FailedPrecondition(
            "TOO_MANY_FACES",
            f"subject {shown(subject_id)} has {present} faces and {more} more would make "
            f"{present + more}; at most {MAX_FACES_PER_SUBJECT} are kept",
            field="maps",
        )


def check_quotas(
    connection: Connection, owner: int, *, new_subjects: int = 0, new_faces: int = 0
) -> None:
    """Raise QUOTA_EXCEEDED if a collection would exceed its quotas."""
    row = connection.execute(select(collections).where(collections.c.key == owner)).one()
    for what, present, more, most in (
        ("subjects", row.subject_count, new_subjects, row.max_subjects),
        ("faces", row.face_count, new_faces, row.max_faces),
    ):
        if most and more and present + more > most:
            raise FailedPrecondition(
                "QUOTA_EXCEEDED",
                f"collection {shown(row.id)} holds {present} {what} and {more} more would make "
                f"{present + more}; its quota is {most}",
                metadata={"quota": f"max_{what}", "limit": str(most)},
            )
