"""The way from the tables of an older version to the present ones.

Each step is what has to be run on a gallery of that version to make it one of the next. Steps are
never changed once released: they say what the tables were, and `schema` says what they are.
PostgreSQL came with version 2.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from recognizer_service.gallery import schema

_FILL_SPACES = "INSERT INTO spaces (id, size) SELECT DISTINCT space, 512 FROM embeddings"
_SQLITE: Mapping[int, Sequence[str]] = {
    1: (
        "ALTER TABLE collections ADD COLUMN max_subjects INTEGER DEFAULT '0' NOT NULL",
        "ALTER TABLE collections ADD COLUMN max_faces INTEGER DEFAULT '0' NOT NULL",
        "ALTER TABLE collections ADD COLUMN subject_retention_s INTEGER DEFAULT '0' NOT NULL",
        "ALTER TABLE collections ADD COLUMN subject_score VARCHAR DEFAULT 'best_face' NOT NULL",
        "ALTER TABLE subjects ADD COLUMN metadata JSON DEFAULT '{}' NOT NULL",
        "ALTER TABLE subjects ADD COLUMN expires_at INTEGER",
        "CREATE INDEX ix_subjects_expires_at ON subjects (expires_at)",
        "ALTER TABLE subjects ADD COLUMN revision INTEGER DEFAULT '1' NOT NULL",
        """
        CREATE TABLE labels (
            subject_key INTEGER NOT NULL REFERENCES subjects ("key") ON DELETE CASCADE,
            label VARCHAR NOT NULL,
            PRIMARY KEY (subject_key, label)
        )
        """,
        """
        CREATE TABLE audit (
            "key" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            at INTEGER NOT NULL,
            caller VARCHAR NOT NULL,
            operation VARCHAR NOT NULL,
            collection_id VARCHAR NOT NULL,
            subject_id VARCHAR NOT NULL
        )
        """,
        "CREATE INDEX ix_audit_at ON audit (at)",
    ),
    2: (
        # Rows that were moved left copies behind that only the next deletion would have looked for.
        "INSERT INTO erasures DEFAULT VALUES",
        # Where two ids are one now, the second person is told from the first by the row's key.
        """
        UPDATE subjects SET id = canonical(id) || CASE WHEN EXISTS (
            SELECT 1 FROM subjects AS other
            WHERE other.collection_key = subjects.collection_key
                AND other.id = canonical(subjects.id)
        ) THEN '-' || "key" ELSE '' END
        WHERE id != canonical(id)
        """,
        "UPDATE OR REPLACE labels SET label = canonical(label) WHERE label != canonical(label)",
        """
        UPDATE audit SET subject_id = canonical(subject_id)
        WHERE subject_id != canonical(subject_id)
        """,
        "CREATE TABLE spaces (id VARCHAR NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (id))",
        _FILL_SPACES,
        # SQLite cannot take a CHECK away, nor add a foreign key.
        """
        CREATE TABLE embeddings_of_any_size (
            face_key INTEGER NOT NULL,
            space VARCHAR NOT NULL,
            vector BLOB NOT NULL,
            PRIMARY KEY (face_key, space),
            FOREIGN KEY(face_key) REFERENCES faces ("key") ON DELETE CASCADE,
            FOREIGN KEY(space) REFERENCES spaces (id)
        )
        """,
        "INSERT INTO embeddings_of_any_size SELECT * FROM embeddings",
        "DROP TABLE embeddings",
        "ALTER TABLE embeddings_of_any_size RENAME TO embeddings",
        "ALTER TABLE sightings DROP COLUMN vector",
        "ALTER TABLE sightings DROP COLUMN space",
    ),
}
_POSTGRES: Mapping[int, Sequence[str]] = {
    2: (
        'CREATE TABLE spaces (id VARCHAR COLLATE "C" PRIMARY KEY, size INTEGER NOT NULL)',
        _FILL_SPACES,
        "ALTER TABLE embeddings DROP CONSTRAINT embeddings_vector_check",
        "ALTER TABLE embeddings ADD FOREIGN KEY (space) REFERENCES spaces (id)",
        "ALTER TABLE sightings DROP COLUMN vector, DROP COLUMN space",
        # As in SQLite; ids and labels of one spelling.
        """
        UPDATE subjects SET id = normalize(id, NFC) || CASE WHEN EXISTS (
            SELECT 1 FROM subjects AS other
            WHERE other.collection_key = subjects.collection_key
                AND other.id = normalize(subjects.id, NFC)
        ) THEN '-' || "key" ELSE '' END
        WHERE id IS NOT NFC NORMALIZED
        """,
        """
        DELETE FROM labels WHERE label IS NOT NFC NORMALIZED AND EXISTS (
            SELECT 1 FROM labels AS other
            WHERE other.subject_key = labels.subject_key
                AND other.label = normalize(labels.label, NFC)
        )
        """,
        "UPDATE labels SET label = normalize(label, NFC) WHERE label IS NOT NFC NORMALIZED",
        """
        UPDATE audit SET subject_id = normalize(subject_id, NFC)
        WHERE subject_id IS NOT NFC NORMALIZED
        """,
    ),
}


def migrate(connection: Connection, version: int) -> None:
    """Bring the tables of an older version up to the present one, in the caller's transaction.

    Where the version is written down is the database's business, and so is writing the new one.
    """
    steps = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES
    for step in range(version, schema.VERSION):
        for statement in steps[step]:
            connection.exec_driver_sql(statement)
