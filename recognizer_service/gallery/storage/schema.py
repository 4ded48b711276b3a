"""The database tables, from which all other state can be rebuilt.

::

    collections ─┬─< subjects ─┬─< faces ──< embeddings >── spaces
                 │             └─< labels
                 ├─< sightings ─┬─ identifications
                 │              └─< alerts
                 └─< alert_rules ─┴─< rings
    identifications  findings of sightings; watchers follow them by key
    alerts       alerts that the targets have not accepted yet
    rings        when a rule last fired for a person
    spaces       embedding spaces and their dimensions
    requests     recent request ids, and the faces they enrolled
    audit        audit events by id; outlive the subjects
    erasures     deletions whose bytes may be on disk; one more row while a process is open
    clock        the last known time

Rows are joined by integer keys that are never reused (AUTOINCREMENT, sequences): a key of `faces`
is also the face's id in FAISS, where a reused one would refer to another person. The ids that
callers see are separate columns.

To change a table, increment `VERSION` and add a migration to `migrations`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

VERSION = 6
"""Incremented with every change of the tables; galleries of a higher version are not opened."""

MAX_KEY = 2**63 - 1
"""The maximum key, and the maximum integer of both databases."""
FORMER_EMBEDDING_SIZE = 512
"""Dimension of all embeddings before version 3, which introduced a size per space."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# SQLite integers have variable length, and only an INTEGER can be a key.
_LONG = BigInteger().with_variant(Integer, "sqlite")
# Byte-wise comparison in both databases: ids are sorted and case-sensitive.
_TEXT = String().with_variant(String(collation="C"), "postgresql")


class Instant(TypeDecorator[datetime]):
    """A point in time, stored as whole microseconds since 1970-01-01 UTC."""

    impl = _LONG
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Convert Python to SQL; a time without a zone is a TypeError."""
        del dialect
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Convert SQL to Python."""
        del dialect
        return None if value is None else _EPOCH + value * _MICROSECOND


metadata = MetaData()


def _key() -> Column[int]:
    return Column("key", _LONG, primary_key=True)


def _belongs_to(table: str, column: str) -> Column[int]:
    parent = ForeignKey(f"{table}.key", ondelete="CASCADE")
    return Column(column, _LONG, parent, nullable=False)


collections = Table(
    "collections",
    metadata,
    _key(),
    Column("id", _TEXT, nullable=False, unique=True),
    Column("max_fpir", Float, nullable=False),
    Column("max_fmr", Float, nullable=False),
    Column("sighting_retention_s", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    # Stored here, so that a threshold for N faces reads one row instead of counting N.
    Column("subject_count", Integer, nullable=False, default=0),
    Column("face_count", Integer, nullable=False, default=0),
    Column("max_subjects", Integer, nullable=False, server_default="0"),  # 0: no limit
    Column("max_faces", Integer, nullable=False, server_default="0"),
    Column("subject_retention_s", Integer, nullable=False, server_default="0"),  # 0: never expires
    Column("subject_score", _TEXT, nullable=False, server_default="best_face"),
    sqlite_autoincrement=True,
)

subjects = Table(
    "subjects",
    metadata,
    _key(),
    _belongs_to("collections", "collection_key"),
    Column("id", _TEXT, nullable=False),
    Column("display_name", _TEXT, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("metadata", JSON, nullable=False, server_default="{}"),
    Column("expires_at", Instant, index=True),
    Column("revision", Integer, nullable=False, server_default="1"),
    UniqueConstraint("collection_key", "id"),
    sqlite_autoincrement=True,
)

labels = Table(
    "labels",
    metadata,
    Column("subject_key", _LONG, ForeignKey("subjects.key", ondelete="CASCADE")),
    Column("label", _TEXT),
    PrimaryKeyConstraint("subject_key", "label"),
)

faces = Table(
    "faces",
    metadata,
    _key(),
    _belongs_to("subjects", "subject_key"),
    Column("id", _TEXT, nullable=False, unique=True),
    Column("codec_id", _TEXT, nullable=False),
    Column("png", LargeBinary, nullable=False),
    Column("quality", Float),
    Column("captured_at", Instant),
    Column("created_at", Instant, nullable=False),
    Index("faces_of_subject", "subject_key"),
    sqlite_autoincrement=True,
)

# A space keeps its size, even without embeddings.
spaces = Table(
    "spaces",
    metadata,
    Column("id", _TEXT, primary_key=True),
    Column("size", Integer, nullable=False),
)

embeddings = Table(
    "embeddings",
    metadata,
    Column("face_key", _LONG, ForeignKey("faces.key", ondelete="CASCADE"), primary_key=True),
    Column("space", _TEXT, ForeignKey("spaces.id"), primary_key=True),
    Column("vector", LargeBinary, nullable=False),  # little-endian float32
)

sightings = Table(
    "sightings",
    metadata,
    _key(),
    _belongs_to("collections", "collection_key"),
    Column("id", _TEXT, nullable=False),
    Column("camera_id", _TEXT, nullable=False),
    Column("codec_id", _TEXT, nullable=False),
    Column("png", LargeBinary, nullable=False),
    Column("quality", Float),
    Column("captured_at", Instant),
    Column("stored_at", Instant, nullable=False),
    # Capture time, but never later than the reception; orders listings.
    Column("seen_at", Instant, nullable=False, server_default="0"),
    UniqueConstraint("collection_key", "id"),
    Index("sightings_by_age", "collection_key", "stored_at"),
    Index("sightings_by_time", "collection_key", "seen_at"),
    sqlite_autoincrement=True,
)

# Identifying a sighting again inserts a new row with a new key, so that watchers see it again.
identifications = Table(
    "identifications",
    metadata,
    _key(),
    Column(
        "sighting_key",
        _LONG,
        ForeignKey("sightings.key", ondelete="CASCADE"),
        nullable=False,
        unique=True,
    ),
    Column("decision", _TEXT, nullable=False),
    Column("failure", _TEXT, nullable=False),
    # The matched subject; names are not stored here.
    Column("subject_key", _LONG, ForeignKey("subjects.key", ondelete="SET NULL")),
    Column("face_id", _TEXT),
    Column("similarity", Float),
    Column("threshold", Float),
    Column("fmr", Float),
    Column("faces", Integer),
    Column("extrapolated", Boolean),
    Index("identifications_of_subject", "subject_key"),
    sqlite_autoincrement=True,
)

# A rule about a subject is deleted with it.
alert_rules = Table(
    "alert_rules",
    metadata,
    _key(),
    _belongs_to("collections", "collection_key"),
    Column("id", _TEXT, nullable=False, unique=True),
    Column("subject_key", _LONG, ForeignKey("subjects.key", ondelete="CASCADE")),
    Column("label", _TEXT, nullable=False),  # "": by subject, or unknown people if that is NULL
    Column("camera_id", _TEXT, nullable=False),  # "": any
    Column("quiet_s", Integer, nullable=False),
    Column("url", _TEXT, nullable=False),  # "": MQTT
    Column("secret", _TEXT, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("alert_rules_of_collection", "collection_key"),
    Index("alert_rules_of_subject", "subject_key"),
    sqlite_autoincrement=True,
)

# Keys and no names: deleting a subject also deletes its undelivered alerts.
alerts = Table(
    "alerts",
    metadata,
    _key(),
    Column("id", _TEXT, nullable=False, unique=True),
    _belongs_to("alert_rules", "rule_key"),
    _belongs_to("sightings", "sighting_key"),
    Column("subject_key", _LONG, ForeignKey("subjects.key", ondelete="CASCADE")),  # NULL: unknown
    Column("similarity", Float),
    Column("threshold", Float),
    Column("created_at", Instant, nullable=False),
    Index("alerts_of_rule", "rule_key"),
    Index("alerts_of_sighting", "sighting_key"),
    Index("alerts_of_subject", "subject_key"),
    sqlite_autoincrement=True,
)

rings = Table(
    "rings",
    metadata,
    _key(),
    _belongs_to("alert_rules", "rule_key"),
    Column("subject_key", _LONG, ForeignKey("subjects.key", ondelete="CASCADE")),  # NULL: unknown
    Column("camera_id", _TEXT, nullable=False),  # for unknown people; "" for a subject
    Column("seen_at", Instant, nullable=False),
    Index("rings_of_rule", "rule_key", "subject_key", "camera_id"),
    Index("rings_of_subject", "subject_key"),
    sqlite_autoincrement=True,
)

# A digest and a range of face keys, no personal data: it outlives the subject.
requests = Table(
    "requests",
    metadata,
    Column("caller", _TEXT, primary_key=True),
    Column("request_id", _TEXT, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("first_face_key", _LONG, nullable=False),
    Column("last_face_key", _LONG, nullable=False),
    Column("created_at", Instant, nullable=False, index=True),
)

# Ids and no names. A subject's id stays here after its deletion until the event expires, so that
# the deletion itself remains on record.
audit = Table(
    "audit",
    metadata,
    _key(),
    Column("at", Instant, nullable=False, index=True),
    Column("caller", _TEXT, nullable=False),
    Column("operation", _TEXT, nullable=False),
    Column("collection_id", _TEXT, nullable=False),
    Column("subject_id", _TEXT, nullable=False),
    sqlite_autoincrement=True,
)

erasures = Table("erasures", metadata, _key(), sqlite_autoincrement=True)

# One row: the time of `GalleryClock`, for the next process.
clock = Table("clock", metadata, _key(), Column("time", Instant, nullable=False))


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
}


def migrate(connection: Connection, version: int) -> None:
    """Migrate the tables of an older version, in the caller's transaction.

    The database stores the version and updates it.
    """
    steps = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES
    for step in range(version, VERSION):
        for statement in steps[step]:
            connection.exec_driver_sql(statement)
