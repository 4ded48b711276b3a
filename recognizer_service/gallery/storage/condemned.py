"""Deleted collections whose rows are removed in the background, in batches.

Deleting a large collection in one transaction would block enrollments, as a collection of a million
faces has at least a million rows. At first the collection is only renamed, which hides it and its
subjects from all callers.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Table, delete, select, update

from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.storage.rows import CONDEMNED_PREFIX
from recognizer_service.gallery.storage.schema import collections, faces, sightings, subjects

ROWS_PER_STEP = 256


def condemn(connection: Connection, database: Database, key: int) -> None:
    """Delete a collection in the caller's transaction; at once if the database does not prune."""
    chosen = collections.c.key == key
    if not database.erases:
        connection.execute(delete(collections).where(chosen))
        return
    connection.execute(
        update(collections)
        .where(chosen)
        .values(id=f"{CONDEMNED_PREFIX}{key}", subject_count=0, face_count=0)
    )


def is_condemned() -> ColumnElement[bool]:
    """Build the condition for condemned collections."""
    return collections.c.id.startswith(CONDEMNED_PREFIX)


def prune(connection: Connection) -> bool:
    """Delete some rows of condemned collections; return whether there were any."""
    keys = connection.scalars(select(collections.c.key).where(is_condemned())).all()
    if not keys:
        return False
    for table, found, owner in (
        (faces, faces.join(subjects), subjects.c.collection_key),
        (subjects, subjects, subjects.c.collection_key),
        (sightings, sightings, sightings.c.collection_key),
    ):
        rows = select(table.c.key).select_from(found).where(owner.in_(keys)).limit(ROWS_PER_STEP)
        if _delete(connection, table, connection.scalars(rows).all()):
            return True
    _delete(connection, collections, keys)
    return True


def _delete(connection: Connection, table: Table, keys: Sequence[int]) -> int:
    return connection.execute(delete(table).where(table.c.key.in_(keys))).rowcount
