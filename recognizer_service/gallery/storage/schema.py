"""The database tables, from which all other state can be rebuilt.

::

    collections ─┬─< subjects ─┬─< faces ──< embeddings >── spaces
                 │             └─< labels
                 ├─< sightings ─┬─ identifications
                 │              ├─ grouped >── strangers
                 │              └─< alerts
                 ├─< strangers
                 └─< alert_rules ─┴─< rings
    identifications  findings of sightings; watchers follow them by key
    strangers    people who are not enrolled, and were seen once or more
    grouped      the sightings of strangers, with embeddings of the latest
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

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
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

VERSION = 8
"""Incremented with every change of the tables; galleries of a higher version are not opened."""

MAX_KEY = 2**63 - 1
"""The maximum key, and the maximum integer of both databases."""
FORMER_EMBEDDING_SIZE = 512
"""Dimension of all embeddings before version 3, which introduced a size per space."""

SHARED_INDEX_TABLE = "shared_index"
"""Exists if an external index follows the database."""

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
    Column("max_stranger_fpir", Float, nullable=False, server_default="0"),  # 0: not grouped
    Column("last_stranger", _LONG, nullable=False, server_default="0"),  # number of the latest
    Column("min_liveness", Float, nullable=False, server_default="0"),  # 0: not required
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

# A row without sightings is a stranger no more, and is deleted with the next expired data.
strangers = Table(
    "strangers",
    metadata,
    _key(),
    _belongs_to("collections", "collection_key"),
    Column("number", _LONG, nullable=False),
    Column("joined_at", Instant, nullable=False),  # when a sighting last joined
    UniqueConstraint("collection_key", "number"),
    Index("strangers_by_time", "collection_key", "joined_at"),
    sqlite_autoincrement=True,
)

grouped = Table(
    "grouped",
    metadata,
    Column(
        "sighting_key", _LONG, ForeignKey("sightings.key", ondelete="CASCADE"), primary_key=True
    ),
    _belongs_to("strangers", "stranger_key"),
    Column("quality", Float),  # as judged
    Column("space", _TEXT),  # NULL: the sighting is not compared
    Column("vector", LargeBinary),
    Index("grouped_by_stranger", "stranger_key", "sighting_key"),
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
    # For unknown people in no group; "" for a subject or a stranger.
    Column("camera_id", _TEXT, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("stranger_key", _LONG, ForeignKey("strangers.key", ondelete="CASCADE")),
    Index("rings_of_rule", "rule_key", "subject_key", "camera_id"),
    Index("rings_of_subject", "subject_key"),
    Index("rings_of_stranger", "stranger_key"),
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
