"""Changes to a subject's data, except its faces."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, insert, update

from recognizer_service.gallery.storage.schema import labels, subjects
from recognizer_service.gallery.texts import canonical
from recognizer_service.gallery.types import SubjectChanges


def change_subject(connection: Connection, key: int, changes: SubjectChanges) -> None:
    """Apply validated changes and increment the revision once."""
    columns: dict[str, Any] = dict(changes)
    if "labels" in changes:
        connection.execute(delete(labels).where(labels.c.subject_key == key))
        insert_labels(connection, key, changes["labels"])
        del columns["labels"]
    connection.execute(
        update(subjects)
        .where(subjects.c.key == key)
        .values(revision=subjects.c.revision + 1, **columns)
    )


def insert_labels(connection: Connection, key: int, names: Iterable[str]) -> None:
    """Insert labels for a subject that has none; duplicates count once."""
    rows = [{"subject_key": key, "label": name} for name in sorted(set(map(canonical, names)))]
    if rows:
        connection.execute(insert(labels), rows)
