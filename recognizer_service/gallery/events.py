"""What was done to a gallery, and what was found in it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Deletion:
    """What was deleted.

    Attributes:
        faces_deleted: faces that went.
        erasure: its number, for `Gallery.erased`: the bytes leave the disk in the background.
            0: the database cannot tell when.
    """

    faces_deleted: int
    erasure: int


class Operation(StrEnum):
    """What is audited."""

    CREATE_COLLECTION = "create_collection"
    UPDATE_COLLECTION = "update_collection"
    DELETE_COLLECTION = "delete_collection"
    ENROLL = "enroll"
    UPDATE_SUBJECT = "update_subject"
    DELETE_SUBJECT = "delete_subject"
    DELETE_FACE = "delete_face"
    EXPIRE_SUBJECT = "expire_subject"
    EXPORT = "export"
    IMPORT = "import"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One deed; ids and no names.

    Attributes:
        at: when, UTC.
        caller: who; "": unknown, or the service itself.
        operation: what.
        collection_id: where.
        subject_id: to whom; "": to the collection.
    """

    at: datetime
    caller: str
    operation: Operation
    collection_id: str
    subject_id: str = ""


@dataclass(frozen=True, slots=True)
class Purge:
    """What had expired and was deleted.

    Attributes:
        sightings: sightings older than the retention of their collection.
        subjects: subjects whose time had come.
        request_ids: remembered request ids.
        audit_events: events older than the retention of the audit log.
        erasure: as in `Deletion`; 0, too, if nothing was deleted.
    """

    sightings: int
    subjects: int
    request_ids: int
    audit_events: int
    erasure: int


@dataclass(frozen=True, slots=True)
class Consistency:
    """What a check of the whole gallery found.

    Attributes:
        problems: one sentence each; none: the gallery is sound.
        subjects: subjects in the database.
        faces: faces in the database.
        indexed: faces in the search indexes.
    """

    problems: tuple[str, ...]
    subjects: int
    faces: int
    indexed: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems
