"""The collections of a gallery."""

from dataclasses import replace
from typing import Any, Unpack

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from recognizer_service.gallery import audit
from recognizer_service.gallery.audit import AuditEvent, Deletion, Operation
from recognizer_service.gallery.collection_settings import (
    Collection,
    CollectionSettings,
    SubjectScore,
)
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import check_collection_id, check_settings, shown
from recognizer_service.gallery.paging import read_page
from recognizer_service.gallery.storage.condemned import condemn
from recognizer_service.gallery.storage.rows import HIDDEN_PREFIX, collection_key
from recognizer_service.gallery.storage.schema import collections
from recognizer_service.gallery.types import Page
from shared.errors import AlreadyExists, FailedPrecondition

DEFAULT_COLLECTION = "default"
_DEFAULTS = CollectionSettings(
    max_fpir=1e-2,
    max_fmr=1e-3,
    sighting_retention_s=24 * 3600,
    max_subjects=0,
    max_faces=0,
    subject_retention_s=0,
    subject_score=SubjectScore.BEST_FACE,
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
)


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
        also applies to existing content.

        Raises:
            NotFound: no such collection.
            InvalidInput: an invalid setting.
        """
        check_settings(settings)
        event = AuditEvent(self._store.now(), caller, Operation.UPDATE_COLLECTION, collection_id)
        with self._store.changing(), self._store.database.writing() as connection:
            key = collection_key(connection, collection_id)
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


def _not_empty(collection: Collection) -> FailedPrecondition:
    return FailedPrecondition(
        "COLLECTION_NOT_EMPTY",
        f"collection {shown(collection.collection_id)} holds {collection.subject_count} "
        "subjects; set force to delete them too",
        field="force",
        metadata={"subject_count": str(collection.subject_count)},
    )


def _read(connection: Connection, collection_id: str) -> Collection:
    key = collection_key(connection, collection_id)
    return _record(connection.execute(_COLLECTION.where(collections.c.key == key)).one())


def _record(row: Any) -> Collection:
    return replace(Collection(*row), subject_score=SubjectScore(row.subject_score))
