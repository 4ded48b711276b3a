"""The collections of a gallery."""

from typing import Any

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from recognizer_service.gallery.database import mark_erasure
from recognizer_service.gallery.limits import (
    check_collection_id,
    check_rate,
    check_retention,
    shown,
)
from recognizer_service.gallery.paging import read_page
from recognizer_service.gallery.records import Collection, Deletion, Page
from recognizer_service.gallery.rows import collection_key
from recognizer_service.gallery.schema import collections
from recognizer_service.gallery.store import Store
from shared.errors import AlreadyExists, FailedPrecondition

DEFAULT_COLLECTION = "default"
DEFAULT_MAX_FPIR = 1e-2
DEFAULT_MAX_FMR = 1e-3

_COLLECTION = select(
    collections.c.id,
    collections.c.max_fpir,
    collections.c.max_fmr,
    collections.c.sighting_retention_s,
    collections.c.created_at,
    collections.c.subject_count,
    collections.c.face_count,
)


class Collections:
    """Create, get, list and delete isolated galleries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self,
        collection_id: str,
        *,
        max_fpir: float = DEFAULT_MAX_FPIR,
        max_fmr: float = DEFAULT_MAX_FMR,
        sighting_retention_s: int = 0,
    ) -> Collection:
        """Create an empty collection; the arguments are those of `Collection`.

        Raises:
            InvalidInput: a malformed id or an impossible default.
            AlreadyExists: the collection exists (COLLECTION_EXISTS).
        """
        check_collection_id(collection_id)
        check_rate(max_fpir, "max_fpir")
        check_rate(max_fmr, "max_fmr")
        check_retention(sighting_retention_s)
        new = insert(collections).values(
            id=collection_id,
            max_fpir=max_fpir,
            max_fmr=max_fmr,
            sighting_retention_s=sighting_retention_s,
            created_at=self._store.now(),
        )
        try:
            with self._store.database.exclusive, self._store.database.writing() as connection:
                connection.execute(new)
                return _read(connection, collection_id)
        except IntegrityError:
            raise AlreadyExists(
                "COLLECTION_EXISTS",
                f"collection {shown(collection_id)} exists",
                field="collection_id",
            ) from None

    def get(self, collection_id: str) -> Collection:
        """One collection, or NotFound. Reads one row whatever the collection holds."""
        with self._store.database.reading() as connection:
            return _read(connection, collection_id)

    def list(self, *, page_size: int = 100, page_token: str = "") -> Page[Collection]:
        """One page of all collections, by id."""
        with self._store.database.reading() as connection:
            return read_page(
                connection,
                _COLLECTION,
                by=collections.c.id,
                record=_record,
                size=page_size,
                token=page_token,
            )

    def delete(self, collection_id: str, *, force: bool = False) -> Deletion:
        """Delete a collection with all it holds.

        Raises:
            NotFound: no such collection.
            FailedPrecondition: it holds subjects and `force` is not set (COLLECTION_NOT_EMPTY).
        """
        with self._store.database.exclusive:
            with self._store.database.writing() as connection:
                key = collection_key(connection, collection_id)
                doomed = _read(connection, collection_id)
                if doomed.subject_count and not force:
                    raise _not_empty(doomed)
                connection.execute(delete(collections).where(collections.c.key == key))
                mark_erasure(connection)
            self._store.indexes.pop(key, None)
        return Deletion(doomed.face_count, self._store.database.erase())


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
    return Collection(*row)
