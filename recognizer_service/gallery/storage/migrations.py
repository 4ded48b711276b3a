"""Upgrades of the tables from earlier versions; see `schema.VERSION`."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from recognizer_service.gallery.storage.schema import VERSION
from shared.errors import FailedPrecondition

_FILL_SPACES = "INSERT INTO spaces (id, size) SELECT DISTINCT space, 512 FROM embeddings"
_STRANGER_INDEXES = (
    "CREATE INDEX strangers_by_time ON strangers (collection_key, joined_at)",
    "CREATE INDEX grouped_by_stranger ON grouped (stranger_key, sighting_key)",
    "CREATE INDEX rings_of_stranger ON rings (stranger_key)",
)
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
        # Moving rows leaves stale copies, which otherwise only the next deletion would erase.
        "INSERT INTO erasures DEFAULT VALUES",
        # If two ids become equal, the second subject gets its row key as a suffix.
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
        # SQLite cannot drop a CHECK or add a foreign key.
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
    3: (
        "ALTER TABLE sightings ADD COLUMN seen_at INTEGER DEFAULT '0' NOT NULL",
        "UPDATE sightings SET seen_at = min(coalesce(captured_at, stored_at), stored_at)",
        "CREATE INDEX sightings_by_time ON sightings (collection_key, seen_at)",
        """
        CREATE TABLE identifications (
            "key" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            sighting_key INTEGER NOT NULL,
            decision VARCHAR NOT NULL,
            failure VARCHAR NOT NULL,
            subject_key INTEGER,
            face_id VARCHAR,
            similarity FLOAT,
            threshold FLOAT,
            fmr FLOAT,
            faces INTEGER,
            extrapolated BOOLEAN,
            UNIQUE (sighting_key),
            FOREIGN KEY(sighting_key) REFERENCES sightings ("key") ON DELETE CASCADE,
            FOREIGN KEY(subject_key) REFERENCES subjects ("key") ON DELETE SET NULL
        )
        """,
        "CREATE INDEX identifications_of_subject ON identifications (subject_key)",
    ),
    4: (
        """
        CREATE TABLE alert_rules (
            "key" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            collection_key INTEGER NOT NULL,
            id VARCHAR NOT NULL,
            subject_key INTEGER,
            label VARCHAR NOT NULL,
            camera_id VARCHAR NOT NULL,
            quiet_s INTEGER NOT NULL,
            url VARCHAR NOT NULL,
            secret VARCHAR NOT NULL,
            created_at INTEGER NOT NULL,
            UNIQUE (id),
            FOREIGN KEY(collection_key) REFERENCES collections ("key") ON DELETE CASCADE,
            FOREIGN KEY(subject_key) REFERENCES subjects ("key") ON DELETE CASCADE
        )
        """,
        "CREATE INDEX alert_rules_of_collection ON alert_rules (collection_key)",
        "CREATE INDEX alert_rules_of_subject ON alert_rules (subject_key)",
        """
        CREATE TABLE alerts (
            "key" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            id VARCHAR NOT NULL,
            rule_key INTEGER NOT NULL,
            sighting_key INTEGER NOT NULL,
            subject_key INTEGER,
            similarity FLOAT,
            threshold FLOAT,
            created_at INTEGER NOT NULL,
            UNIQUE (id),
            FOREIGN KEY(rule_key) REFERENCES alert_rules ("key") ON DELETE CASCADE,
            FOREIGN KEY(sighting_key) REFERENCES sightings ("key") ON DELETE CASCADE,
            FOREIGN KEY(subject_key) REFERENCES subjects ("key") ON DELETE CASCADE
        )
        """,
        "CREATE INDEX alerts_of_rule ON alerts (rule_key)",
        "CREATE INDEX alerts_of_sighting ON alerts (sighting_key)",
        "CREATE INDEX alerts_of_subject ON alerts (subject_key)",
        """
        CREATE TABLE rings (
            "key" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            rule_key INTEGER NOT NULL,
            subject_key INTEGER,
            camera_id VARCHAR NOT NULL,
            seen_at INTEGER NOT NULL,
            FOREIGN KEY(rule_key) REFERENCES alert_rules ("key") ON DELETE CASCADE,
            FOREIGN KEY(subject_key) REFERENCES subjects ("key") ON DELETE CASCADE
        )
        """,
        "CREATE INDEX rings_of_rule ON rings (rule_key, subject_key, camera_id)",
        "CREATE INDEX rings_of_subject ON rings (subject_key)",
    ),
    5: ('CREATE TABLE clock ("key" INTEGER NOT NULL PRIMARY KEY, time INTEGER NOT NULL)',),
    6: (
        "ALTER TABLE collections ADD COLUMN max_stranger_fpir FLOAT DEFAULT '0' NOT NULL",
        "ALTER TABLE collections ADD COLUMN last_stranger INTEGER DEFAULT '0' NOT NULL",
        """
        CREATE TABLE strangers (
            "key" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            collection_key INTEGER NOT NULL,
            number INTEGER NOT NULL,
            joined_at INTEGER NOT NULL,
            UNIQUE (collection_key, number),
            FOREIGN KEY(collection_key) REFERENCES collections ("key") ON DELETE CASCADE
        )
        """,
        """
        CREATE TABLE grouped (
            sighting_key INTEGER NOT NULL PRIMARY KEY,
            stranger_key INTEGER NOT NULL,
            quality FLOAT,
            space VARCHAR,
            vector BLOB,
            FOREIGN KEY(sighting_key) REFERENCES sightings ("key") ON DELETE CASCADE,
            FOREIGN KEY(stranger_key) REFERENCES strangers ("key") ON DELETE CASCADE
        )
        """,
        """
        ALTER TABLE rings ADD COLUMN stranger_key INTEGER
            REFERENCES strangers ("key") ON DELETE CASCADE
        """,
        *_STRANGER_INDEXES,
    ),
    7: ("ALTER TABLE collections ADD COLUMN min_liveness FLOAT DEFAULT '0' NOT NULL",),
}
_POSTGRES: Mapping[int, Sequence[str]] = {
    2: (
        'CREATE TABLE spaces (id VARCHAR COLLATE "C" PRIMARY KEY, size INTEGER NOT NULL)',
        _FILL_SPACES,
        "ALTER TABLE embeddings DROP CONSTRAINT embeddings_vector_check",
        "ALTER TABLE embeddings ADD FOREIGN KEY (space) REFERENCES spaces (id)",
        "ALTER TABLE sightings DROP COLUMN vector, DROP COLUMN space",
        # As in SQLite: normalized ids and labels.
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
    3: (
        "ALTER TABLE sightings ADD COLUMN seen_at BIGINT DEFAULT '0' NOT NULL",
        "UPDATE sightings SET seen_at = least(coalesce(captured_at, stored_at), stored_at)",
        "CREATE INDEX sightings_by_time ON sightings (collection_key, seen_at)",
        """
        CREATE TABLE identifications (
            "key" BIGSERIAL PRIMARY KEY,
            sighting_key BIGINT NOT NULL UNIQUE REFERENCES sightings ("key") ON DELETE CASCADE,
            decision VARCHAR COLLATE "C" NOT NULL,
            failure VARCHAR COLLATE "C" NOT NULL,
            subject_key BIGINT REFERENCES subjects ("key") ON DELETE SET NULL,
            face_id VARCHAR COLLATE "C",
            similarity FLOAT,
            threshold FLOAT,
            fmr FLOAT,
            faces INTEGER,
            extrapolated BOOLEAN
        )
        """,
        "CREATE INDEX identifications_of_subject ON identifications (subject_key)",
    ),
    4: (
        """
        CREATE TABLE alert_rules (
            "key" BIGSERIAL PRIMARY KEY,
            collection_key BIGINT NOT NULL,
            id VARCHAR COLLATE "C" NOT NULL,
            subject_key BIGINT,
            label VARCHAR COLLATE "C" NOT NULL,
            camera_id VARCHAR COLLATE "C" NOT NULL,
            quiet_s INTEGER NOT NULL,
            url VARCHAR COLLATE "C" NOT NULL,
            secret VARCHAR COLLATE "C" NOT NULL,
            created_at BIGINT NOT NULL,
            UNIQUE (id),
            FOREIGN KEY(collection_key) REFERENCES collections ("key") ON DELETE CASCADE,
            FOREIGN KEY(subject_key) REFERENCES subjects ("key") ON DELETE CASCADE
        )
        """,
        "CREATE INDEX alert_rules_of_collection ON alert_rules (collection_key)",
        "CREATE INDEX alert_rules_of_subject ON alert_rules (subject_key)",
        """
        CREATE TABLE alerts (
            "key" BIGSERIAL PRIMARY KEY,
            id VARCHAR COLLATE "C" NOT NULL,
            rule_key BIGINT NOT NULL,
            sighting_key BIGINT NOT NULL,
            subject_key BIGINT,
            similarity FLOAT,
            threshold FLOAT,
            created_at BIGINT NOT NULL,
            UNIQUE (id),
            FOREIGN KEY(rule_key) REFERENCES alert_rules ("key") ON DELETE CASCADE,
            FOREIGN KEY(sighting_key) REFERENCES sightings ("key") ON DELETE CASCADE,
            FOREIGN KEY(subject_key) REFERENCES subjects ("key") ON DELETE CASCADE
        )
        """,
        "CREATE INDEX alerts_of_rule ON alerts (rule_key)",
        "CREATE INDEX alerts_of_sighting ON alerts (sighting_key)",
        "CREATE INDEX alerts_of_subject ON alerts (subject_key)",
        """
        CREATE TABLE rings (
            "key" BIGSERIAL PRIMARY KEY,
            rule_key BIGINT NOT NULL,
            subject_key BIGINT,
            camera_id VARCHAR COLLATE "C" NOT NULL,
            seen_at BIGINT NOT NULL,
            FOREIGN KEY(rule_key) REFERENCES alert_rules ("key") ON DELETE CASCADE,
            FOREIGN KEY(subject_key) REFERENCES subjects ("key") ON DELETE CASCADE
        )
        """,
        "CREATE INDEX rings_of_rule ON rings (rule_key, subject_key, camera_id)",
        "CREATE INDEX rings_of_subject ON rings (subject_key)",
    ),
    5: ('CREATE TABLE clock ("key" BIGSERIAL PRIMARY KEY, time BIGINT NOT NULL)',),
    6: (
        "ALTER TABLE collections ADD COLUMN max_stranger_fpir FLOAT DEFAULT '0' NOT NULL",
        "ALTER TABLE collections ADD COLUMN last_stranger BIGINT DEFAULT '0' NOT NULL",
        """
        CREATE TABLE strangers (
            "key" BIGSERIAL PRIMARY KEY,
            collection_key BIGINT NOT NULL REFERENCES collections ("key") ON DELETE CASCADE,
            number BIGINT NOT NULL,
            joined_at BIGINT NOT NULL,
            UNIQUE (collection_key, number)
        )
        """,
        """
        CREATE TABLE grouped (
            sighting_key BIGINT PRIMARY KEY REFERENCES sightings ("key") ON DELETE CASCADE,
            stranger_key BIGINT NOT NULL REFERENCES strangers ("key") ON DELETE CASCADE,
            quality FLOAT,
            space VARCHAR COLLATE "C",
            vector BYTEA
        )
        """,
        """
        ALTER TABLE rings ADD COLUMN stranger_key BIGINT
            REFERENCES strangers ("key") ON DELETE CASCADE
        """,
        *_STRANGER_INDEXES,
    ),
    7: ("ALTER TABLE collections ADD COLUMN min_liveness FLOAT DEFAULT '0' NOT NULL",),
}


def check_version(version: int) -> None:
    """Check that this program knows a schema version.

    Raises:
        FailedPrecondition: it is later (GALLERY_TOO_NEW).
    """
    if version > VERSION:
        raise FailedPrecondition(
            "GALLERY_TOO_NEW",
            f"the gallery has schema version {version}; this program knows versions up to "
            f"{VERSION}: run a newer program, or restore an older gallery",
        )


def migrate(connection: Connection, version: int) -> None:
    """Migrate the tables of an older version, in the caller's transaction.

    The database stores the version and updates it.
    """
    steps = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES
    for step in range(version, VERSION):
        for statement in steps[step]:
            connection.exec_driver_sql(statement)
