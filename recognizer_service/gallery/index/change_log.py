"""The log of changed embeddings that an external index has not applied yet.

A trigger writes the log in the transaction that changes `embeddings`, whatever the cause:
enrollment, cascading deletion, import or re-embedding. No committed change is lost, and applying an
entry twice is harmless. Only PostgreSQL has the log; an in-memory index needs none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import numpy as np
from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    MetaData,
    String,
    Table,
    delete,
    insert,
    inspect,
    select,
    update,
)

from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.storage.schema import (
    SHARED_INDEX_TABLE,
    embeddings,
    faces,
    subjects,
)
from recognizer_service.gallery.types import Embedding

_own = MetaData()
_index = Table(
    SHARED_INDEX_TABLE,
    _own,
    Column("name", String, nullable=False),
    Column("space", String, nullable=False),
)
_changes = Table(
    "index_changes",
    _own,
    Column("key", BigInteger, Identity(always=True), primary_key=True),
    Column("face_key", BigInteger, nullable=False),
    Column("space", String, nullable=False),
)
_NOTE = """
    CREATE FUNCTION note_index_changes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO index_changes (face_key, space) SELECT face_key, space FROM changed;
        RETURN NULL;
    END $$
"""
_NOTE_ON = """
    CREATE TRIGGER note_{event} AFTER {event} ON embeddings REFERENCING {rows} TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_index_changes()
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A change to apply to an index.

    Attributes:
        key: key of the entry; later entries have higher keys.
        face_key: key of the face.
        space: space of the embedding.
        present: the face's collection and embedding now; None if the embedding was deleted.
    """

    key: int
    face_key: int
    space: str
    present: tuple[int, Embedding] | None


class ChangeLog:
    """The log, the name of the index that applies it, and the space served."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_kept(self) -> bool:
        """Return whether the log exists."""
        with self._database.reading() as connection:
            return inspect(connection).has_table(SHARED_INDEX_TABLE)

    def begin(self, space: str) -> None:
        """Create the log for a new index that serves a space."""
        with self._database.writing() as connection:
            _own.create_all(connection)
            connection.exec_driver_sql(_NOTE)
            connection.exec_driver_sql(_NOTE_ON.format(event="INSERT", rows="NEW"))
            connection.exec_driver_sql(_NOTE_ON.format(event="DELETE", rows="OLD"))
            name = f"compactface_{uuid4().hex[:12]}"
            connection.execute(insert(_index).values(name=name, space=space))

    def name(self) -> str:
        """Return the name of the index, unique to this gallery."""
        with self._database.reading() as connection:
            name: str = connection.execute(select(_index.c.name)).scalar_one()
            return name

    def served(self) -> str:
        """Return the space that all processes serve."""
        with self._database.reading() as connection:
            space: str = connection.execute(select(_index.c.space)).scalar_one()
            return space

    def serve(self, space: str) -> None:
        """Make all processes serve another space."""
        with self._database.writing() as connection:
            connection.execute(update(_index).values(space=space))

    def note_all(self, space: str) -> None:
        """Log every embedding in a space, for a new or lost index."""
        every = select(embeddings.c.face_key, embeddings.c.space).where(embeddings.c.space == space)
        with self._database.writing() as connection:
            connection.execute(insert(_changes).from_select(["face_key", "space"], every))

    def changes(self, most: int) -> list[Change]:
        """Return the oldest entries with the current state of their faces."""
        query = (
            select(_changes, subjects.c.collection_key, embeddings.c.vector)
            .outerjoin_from(
                _changes,
                embeddings,
                (embeddings.c.face_key == _changes.c.face_key)
                & (embeddings.c.space == _changes.c.space),
            )
            .outerjoin(faces, faces.c.key == embeddings.c.face_key)
            .outerjoin(subjects)
            .order_by(_changes.c.key)
            .limit(most)
        )
        with self._database.reading() as connection:
            return [
                Change(
                    row.key,
                    row.face_key,
                    row.space,
                    None if row.vector is None else (row.collection_key, _vector(row.vector)),
                )
                for row in connection.execute(query)
            ]

    def followed(self, changes: Sequence[Change]) -> None:
        """Delete entries that the index has applied."""
        keys = [change.key for change in changes]
        with self._database.writing() as connection:
            connection.execute(delete(_changes).where(_changes.c.key.in_(keys)))


def _vector(stored: bytes) -> Embedding:
    return np.frombuffer(stored, np.float32)
