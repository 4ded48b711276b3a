"""The way from the tables of an older version to the present ones.

Each step is what has to be run on a file of that version to make it one of the next. Steps are
never changed once released: they say what the tables were, and `schema` says what they are.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from recognizer_service.gallery import schema

_STEPS: Mapping[int, Sequence[str]] = {
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
    # Rows that were moved left copies behind that only the next deletion would have looked for.
    2: (
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
    ),
}


def migrate(connection: Connection, version: int) -> None:
    """Bring the tables of a version from 1 up to the present one, in the caller's transaction."""
    for step in range(version, schema.VERSION):
        for statement in _STEPS[step]:
            connection.exec_driver_sql(statement)
    connection.exec_driver_sql(f"PRAGMA user_version = {schema.VERSION}")
