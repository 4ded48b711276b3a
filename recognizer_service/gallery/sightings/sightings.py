"""Sightings: maps streamed by cameras, kept for the collection's retention, and their findings."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select

from recognizer_service.gallery import audit
from recognizer_service.gallery.alerts.ringing import Rung
from recognizer_service.gallery.audit import AuditEvent, Operation
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import MAX_PAGE_SIZE, check_range, shown
from recognizer_service.gallery.paging import Page, parse_token, read_page
from recognizer_service.gallery.sightings.findings import keep
from recognizer_service.gallery.sightings.rows import (
    SEEN,
    filtered,
    find_sighting,
    listed_after,
    parse_place,
    retention_of,
    seen_face_of,
    seen_page,
    sighting_of,
)
from recognizer_service.gallery.sightings.types import (
    Camera,
    SeenFace,
    Sighting,
    SightingFilter,
    SightingFinding,
    SightingOutcome,
    UnknownFace,
    check_sighting,
    check_sighting_filter,
)
from recognizer_service.gallery.storage.rows import (
    HIDDEN_PREFIX,
    asked_for,
    collection_key,
    sighting_not_found,
)
from recognizer_service.gallery.storage.schema import collections, identifications, sightings
from shared.errors import AlreadyExists, CompactfaceError

_DELETED_AT_ONCE = 256
_EVERYTHING = SightingFilter()


class Sightings:
    """Stores, lists and deletes sightings, and stores their findings.

    Every method that names a collection raises NotFound if it does not exist.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def store_all(
        self, collection_id: str, given: Sequence[Sighting]
    ) -> list[SightingOutcome | CompactfaceError]:
        """Store sightings in one transaction; storing one again has no effect.

        Returns:
            Each one's outcome or error: InvalidInput if a field breaks a limit, AlreadyExists if
            the id was used with another body (SIGHTING_ID_REUSED).
        """
        # Not `changing`: no index is updated, so the space served does not matter.
        database = self._store.database
        with database.exclusive, database.writing() as connection:
            key = collection_key(connection, collection_id)
            kept = bool(retention_of(connection, key))
            return [self._store_one(connection, key, sighting, kept=kept) for sighting in given]

    def _store_one(
        self, connection: Connection, key: int, sighting: Sighting, *, kept: bool
    ) -> SightingOutcome | CompactfaceError:
        try:
            check_sighting(sighting)
        except CompactfaceError as error:
            return error
        if not kept:
            return SightingOutcome.DISCARDED
        if row := find_sighting(connection, key, sighting.sighting_id):
            if sighting_of(row) != sighting:
                return _reused(sighting.sighting_id)
            return SightingOutcome.DUPLICATE
        self._insert(connection, key, sighting)
        return SightingOutcome.STORED

    def find(self, collection_id: str, sighting_ids: Sequence[str]) -> list[SeenFace]:
        """Return some sightings with their findings, in order.

        Raises:
            NotFound: one is unknown or expired (SIGHTING_NOT_FOUND).
        """
        with self._store.database.reading() as connection:
            key = collection_key(connection, collection_id)
            ids = [asked_for(sighting_id) for sighting_id in sighting_ids]
            query = self._kept(connection, key).where(sightings.c.id.in_(ids))
            found = {row.id: seen_face_of(row) for row in connection.execute(query)}
        for id_, sighting_id in zip(ids, sighting_ids, strict=True):
            if id_ not in found:
                raise sighting_not_found(sighting_id)
        return [found[id_] for id_ in ids]

    def list(
        self,
        collection_id: str,
        *,
        only: SightingFilter = _EVERYTHING,
        page_size: int = 100,
        page_token: str = "",
    ) -> Page[SeenFace]:
        """Return one page of the sightings that match a filter, newest first."""
        check_sighting_filter(only)
        check_range(page_size, 1, MAX_PAGE_SIZE, "page_size")
        with self._store.database.reading() as connection:
            key = collection_key(connection, collection_id)
            query = filtered(self._kept(connection, key), only)
            if page_token:
                query = query.where(listed_after(*parse_token(page_token, parse_place)))
            order = (sightings.c.seen_at.desc(), sightings.c.key.desc())
            rows = connection.execute(query.order_by(*order).limit(page_size + 1)).all()
            return seen_page(rows, page_size)

    def cameras(
        self, collection_id: str, *, page_size: int = 100, page_token: str = ""
    ) -> Page[Camera]:
        """Return one page of the cameras with unexpired sightings, by id. Reads all of those."""
        with self._store.database.reading() as connection:
            key = collection_key(connection, collection_id)
            found = identifications.c
            query = self._kept(connection, key).with_only_columns(
                sightings.c.camera_id,
                func.max(sightings.c.seen_at),
                func.max(sightings.c.stored_at),
                func.count(),
                func.count().filter(found.subject_key.is_not(None)),
                func.count().filter(found.failure != ""),
            )
            return read_page(
                connection,
                query.group_by(sightings.c.camera_id),
                by=sightings.c.camera_id,
                record=lambda row: Camera(*row),
                size=page_size,
                token=page_token,
            )

    def delete(
        self,
        collection_id: str,
        *,
        sighting_ids: Sequence[str] | None = None,
        only: SightingFilter = _EVERYTHING,
        caller: str = "",
    ) -> tuple[int, int]:
        """Delete sightings by id or by filter, in several transactions.

        Args:
            collection_id: the collection.
            sighting_ids: ids; unknown ones are ignored. None: use `only`.
            only: filter, if no ids are given.
            caller: the caller, for the audit log.

        Returns:
            The number deleted, and the number of the erasure for `Database.erased`; the latter is 0
            if nothing was deleted or the database cannot report erasure.
        """
        check_sighting_filter(only)
        chosen = filtered(SEEN.with_only_columns(sightings.c.key), only)
        if sighting_ids is not None:
            chosen = chosen.where(sightings.c.id.in_(map(asked_for, sighting_ids)))
        events = [AuditEvent(self._store.now(), caller, Operation.DELETE_SIGHTINGS, collection_id)]

        def delete_some(connection: Connection) -> int:
            key = collection_key(connection, collection_id)
            if events:  # in the first transaction: what follows may be interrupted
                audit.record(connection, events.pop())
            some = chosen.where(sightings.c.collection_key == key).limit(_DELETED_AT_ONCE)
            keys = connection.scalars(some).all()
            return connection.execute(delete(sightings).where(sightings.c.key.in_(keys))).rowcount

        return self._store.delete_in_steps(delete_some, most=_DELETED_AT_ONCE)

    def unidentified(self, *, after: int, most: int) -> Sequence[SeenFace]:
        """Return up to `most` unidentified sightings of all collections.

        Args:
            after: only those with a higher key.
            most: maximum number.
        """
        query = SEEN.where(
            sightings.c.key > after,
            identifications.c.key.is_(None),
            ~collections.c.id.startswith(HIDDEN_PREFIX),
        )
        with self._store.database.reading() as connection:
            rows = connection.execute(query.order_by(sightings.c.key).limit(most))
            return [seen_face_of(row) for row in rows]

    def keep_findings(
        self,
        findings: Mapping[int, SightingFinding],
        unknown: Mapping[int, UnknownFace] | None = None,
    ) -> Rung:
        """Store the findings of sightings by key, replacing earlier ones; see `findings.keep`."""
        return keep(self._store, findings, unknown or {})

    def newest_position(self) -> int:
        """Return the position of the newest finding; 0 if there is none."""
        with self._store.database.reading() as connection:
            return connection.scalar(select(func.max(identifications.c.key))) or 0

    def identified(
        self,
        collection_id: str,
        *,
        after: int,
        up_to: int,
        only: SightingFilter = _EVERYTHING,
        most: int = 100,
    ) -> Sequence[SeenFace]:
        """Return sightings of a collection in the order of their identification.

        Args:
            collection_id: the collection.
            after: only findings with a higher position.
            up_to: only findings up to this position.
            only: filter.
            most: maximum number.
        """
        check_sighting_filter(only)
        with self._store.database.reading() as connection:
            key = collection_key(connection, collection_id)
            query = filtered(self._kept(connection, key), only).where(
                identifications.c.key > after, identifications.c.key <= up_to
            )
            rows = connection.execute(query.order_by(identifications.c.key).limit(most))
            return [seen_face_of(row) for row in rows]

    def _kept(self, connection: Connection, key: int) -> Select[Any]:
        """Select the unexpired sightings of a collection."""
        kept_since = self._store.clock.expiry() - retention_of(connection, key)
        return SEEN.where(sightings.c.collection_key == key, sightings.c.stored_at > kept_since)

    def _insert(self, connection: Connection, key: int, sighting: Sighting) -> None:
        now = self._store.now()
        captured_at = sighting.captured_at
        connection.execute(
            insert(sightings).values(
                collection_key=key,
                id=sighting.sighting_id,
                camera_id=sighting.camera_id,
                codec_id=sighting.codec_id,
                png=sighting.png,
                quality=sighting.quality,
                captured_at=captured_at,
                stored_at=now,
                seen_at=now if captured_at is None else min(captured_at, now),
            )
        )


def delete_expired(connection: Connection, now: datetime, most: int) -> int:
    """Delete up to `most` expired sightings; return how many were deleted."""
    old: list[int] = []
    for key in connection.scalars(select(collections.c.key)).all():
        kept_since = now - retention_of(connection, key)
        query = select(sightings.c.key).where(
            sightings.c.collection_key == key, sightings.c.stored_at <= kept_since
        )
        old += connection.scalars(query.limit(most - len(old)))
    return connection.execute(delete(sightings).where(sightings.c.key.in_(old))).rowcount


def _reused(sighting_id: str) -> AlreadyExists:
    return AlreadyExists(
        "SIGHTING_ID_REUSED",
        f"sighting id {shown(sighting_id)} was used with another body",
        field="sighting_id",
    )
