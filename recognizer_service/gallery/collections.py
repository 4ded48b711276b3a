"""The collections of a gallery: settings, quotas, and deletion in the background.

Deleting a large collection in one transaction would block enrollments, as a collection of a million
faces has at least a million rows. At first the collection is only renamed (condemned), which hides
it and its subjects from all callers; then its rows are removed in batches.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from recognizer_service.gallery import audit
from recognizer_service.gallery.audit import AuditEvent, Deletion, Operation
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import (
    MAX_FACES_PER_SUBJECT,
    MAX_QUOTA,
    MAX_RETENTION_S,
    MAX_SUBJECT_RETENTION_S,
    check_range,
    check_rate,
    check_share,
    shown,
)
from recognizer_service.gallery.paging import Page, read_page
from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.storage.rows import (
    CONDEMNED_PREFIX,
    HIDDEN_PREFIX,
    collection_key,
    collection_not_found,
    is_condemned,
    visible,
)
from recognizer_service.gallery.storage.schema import (
    collections,
    faces,
    sightings,
    strangers,
    subjects,
)
from recognizer_service.gallery.types import Collection, CollectionSettings, SubjectScore
from shared.errors import AlreadyExists, FailedPrecondition, InvalidInput

DEFAULT_COLLECTION = "default"
_DEFAULTS = CollectionSettings(
    max_fpir=1e-2,
    max_fmr=1e-3,
    sighting_retention_s=24 * 3600,
    max_subjects=0,
    max_faces=0,
    subject_retention_s=0,
    subject_score=SubjectScore.BEST_FACE,
    max_stranger_fpir=0.0,
    min_liveness=0.0,
)

_COLLECTION = select(
    collections.c.id,
    collections.c.max_fpir,
    collections.c.max_fmr,
    collections.c.sighting_retention_s,
    collections.c.created_at,
    collections.c.subject_count,
    collections.c.face_count,
    collections.c.max_subjects,
    collections.c.max_faces,
    collections.c.subject_retention_s,
    collections.c.subject_score,
    collections.c.max_stranger_fpir,
    collections.c.min_liveness,
)
_BY_ID = _COLLECTION.where(collections.c.id == bindparam("id"))
_COLLECTION_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_ROWS_PER_STEP = 256


_QUOTAS = select(
    collections.c.id,
    collections.c.subject_count,
    collections.c.face_count,
    collections.c.max_subjects,
    collections.c.max_faces,
).where(collections.c.key == bindparam("owner"))


def check_collection_id(collection_id: str) -> None:
    """Check the id of a new collection."""
    if not _COLLECTION_ID.fullmatch(collection_id):
        raise InvalidInput(
            "INVALID_COLLECTION_ID",
            f"collection id {shown(collection_id)} must be 1 to 64 of a-z, 0-9, '-' and '_', "
            "the first a letter or digit",
            field="collection_id",
        )


def check_retention(seconds: int) -> None:
    """Check that a sighting retention is between 0 and one year."""
    check_range(seconds, 0, MAX_RETENTION_S, "sighting_retention_s")


def check_settings(settings: CollectionSettings) -> None:
    """Check the settings of a collection."""
    for rate in ("max_fpir", "max_fmr", "max_stranger_fpir"):
        if rate in settings and (settings[rate] or rate != "max_stranger_fpir"):
            check_rate(settings[rate], rate)
    if "min_liveness" in settings:
        check_share(settings["min_liveness"], "min_liveness")
    if "sighting_retention_s" in settings:
        check_retention(settings["sighting_retention_s"])
    for name, most in (
        ("subject_retention_s", MAX_SUBJECT_RETENTION_S),
        ("max_subjects", MAX_QUOTA),
        ("max_faces", MAX_QUOTA),
    ):
        if name in settings:
            check_range(settings[name], 0, most, name)  # type: ignore[literal-required] # above


class Collections:
    """Creates, gets, lists, updates and deletes isolated galleries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self, collection_id: str, *, caller: str = "", **settings: Unpack[CollectionSettings]
    ) -> Collection:
        """Create an empty collection on behalf of a caller, with the settings of `Collection`.

        Raises:
            InvalidInput: an invalid id or setting.
            AlreadyExists: the collection exists (COLLECTION_EXISTS).
        """
        check_collection_id(collection_id)
        check_settings(settings)
        now = self._store.now()
        event = AuditEvent(now, caller, Operation.CREATE_COLLECTION, collection_id)
        new = insert(collections).values(
            **{**_DEFAULTS, **settings}, id=collection_id, created_at=now
        )
        try:
            with self._store.changing(), self._store.database.writing() as connection:
                connection.execute(new)
                audit.record(connection, event)
                return _read(connection, collection_id)
        except IntegrityError:
            raise AlreadyExists(
                "COLLECTION_EXISTS",
                f"collection {shown(collection_id)} exists",
                field="collection_id",
            ) from None

    def get(self, collection_id: str) -> Collection:
        """Return one collection, or raise NotFound. Reads one row, whatever its size."""
        with self._store.database.reading() as connection:
            return _read(connection, collection_id)

    def list(self, *, page_size: int = 100, page_token: str = "") -> Page[Collection]:
        """Return one page of all collections, by id."""
        with self._store.database.reading() as connection:
            return read_page(
                connection,
                _COLLECTION.where(~collections.c.id.startswith(HIDDEN_PREFIX)),
                by=collections.c.id,
                record=_record,
                size=page_size,
                token=page_token,
            )

    def update(
        self, collection_id: str, *, caller: str = "", **settings: Unpack[CollectionSettings]
    ) -> Collection:
        """Change some settings of a collection, on behalf of a caller.

        A quota below the current content deletes nothing but refuses additions. A shorter retention
        also applies to existing content. Without `max_stranger_fpir`, strangers are deleted, but
        not their sightings.

        Raises:
            NotFound: no such collection.
            InvalidInput: an invalid setting.
        """
        check_settings(settings)
        event = AuditEvent(self._store.now(), caller, Operation.UPDATE_COLLECTION, collection_id)
        with self._store.changing(), self._store.database.writing() as connection:
            key = collection_key(connection, collection_id)
            if settings.get("max_stranger_fpir") == 0 and _delete_strangers(connection, key):
                self._store.database.mark_erasure(connection)
            if settings:
                connection.execute(
                    update(collections).where(collections.c.key == key).values(**settings)
                )
            audit.record(connection, event)
            return _read(connection, collection_id)

    def delete(self, collection_id: str, *, force: bool = False, caller: str = "") -> Deletion:
        """Delete a collection and its contents, on behalf of a caller.

        The collection disappears at once; its rows, then their bytes, are deleted in the
        background.

        Raises:
            NotFound: no such collection.
            FailedPrecondition: it holds subjects and `force` is not set (COLLECTION_NOT_EMPTY).
        """
        event = AuditEvent(self._store.now(), caller, Operation.DELETE_COLLECTION, collection_id)
        with self._store.changing():
            with self._store.database.writing(deleting=True) as connection:
                key = collection_key(connection, collection_id)
                doomed = _read(connection, collection_id)
                if doomed.subject_count and not force:
                    raise _not_empty(doomed)
                condemn(connection, self._store.database, key)
                audit.record(connection, event)
                erasure = self._store.database.mark_erasure(connection)
            self._store.cache.drop(key)
        return Deletion(doomed.face_count, erasure)


def _delete_strangers(connection: Connection, key: int) -> int:
    of_collection = strangers.c.collection_key == key
    return connection.execute(delete(strangers).where(of_collection)).rowcount


def _not_empty(collection: Collection) -> FailedPrecondition:
    return FailedPrecondition(
        "COLLECTION_NOT_EMPTY",
        f"collection {shown(collection.collection_id)} holds {collection.subject_count} "
        "subjects; set force to delete them too",
        field="force",
        metadata={"subject_count": str(collection.subject_count)},
    )


def _read(connection: Connection, collection_id: str) -> Collection:
    row = connection.execute(_BY_ID, {"id": visible(collection_id)}).one_or_none()
    if row is None:
        raise collection_not_found(collection_id)
    return _record(row)


def _record(row: Any) -> Collection:
    return replace(Collection(*row), subject_score=SubjectScore(row.subject_score))


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
    row = connection.execute(_QUOTAS, {"owner": owner}).one()
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


def prune(connection: Connection) -> bool:
    """Delete some rows of condemned collections; return whether there were any."""
    keys = connection.scalars(select(collections.c.key).where(is_condemned())).all()
    if not keys:
        return False
    for table, found, owner in (
        (faces, faces.join(subjects), subjects.c.collection_key),
        (subjects, subjects, subjects.c.collection_key),
        (sightings, sightings, sightings.c.collection_key),
        (strangers, strangers, strangers.c.collection_key),
    ):
        rows = select(table.c.key).select_from(found).where(owner.in_(keys)).limit(_ROWS_PER_STEP)
        if _delete_rows(connection, table, connection.scalars(rows).all()):
            return True
    _delete_rows(connection, collections, keys)
    return True


def _delete_rows(connection: Connection, table: Table, keys: Sequence[int]) -> int:
    return connection.execute(delete(table).where(table.c.key.in_(keys))).rowcount
