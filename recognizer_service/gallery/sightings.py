"""Maps streamed by cameras, kept for as long as their collection says."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import check_sighting, shown
from recognizer_service.gallery.storage.rows import asked_for, collection_key, sighting_not_found
from recognizer_service.gallery.storage.schema import collections, sightings
from recognizer_service.gallery.types import Sighting, SightingOutcome
from shared.errors import AlreadyExists

_SIGHTING = select(
    sightings.c.id,
    sightings.c.camera_id,
    sightings.c.codec_id,
    sightings.c.png,
    sightings.c.quality,
    sightings.c.captured_at,
    sightings.c.stored_at,
)


class Sightings:
    """Store and get sightings. Both raise NotFound for a collection that does not exist."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def store(self, collection_id: str, sighting: Sighting) -> SightingOutcome:
        """Keep a sighting, once, however often it is sent.

        Raises:
            InvalidInput: a field breaks a limit.
            AlreadyExists: the id came with another body (SIGHTING_ID_REUSED).
        """
        check_sighting(sighting)
        # Not `changing`: no index follows, so that it does not matter which space is served.
        database = self._store.database
        with database.exclusive, database.writing() as connection:
            key = collection_key(connection, collection_id)
            if not _retention(connection, key):
                return SightingOutcome.DISCARDED
            if row := _find(connection, key, sighting.sighting_id):
                if self._record(row) != sighting:
                    raise _reused(sighting.sighting_id)
                return SightingOutcome.DUPLICATE
            self._insert(connection, key, sighting)
            return SightingOutcome.STORED

    def get(self, collection_id: str, sighting_id: str) -> Sighting:
        """One sighting; NotFound (SIGHTING_NOT_FOUND) if it is unknown or has expired."""
        with self._store.database.reading() as connection:
            key = collection_key(connection, collection_id)
            row = _find(connection, key, sighting_id)
            kept_since = self._store.now() - _retention(connection, key)
            if row is None or row.stored_at <= kept_since:
                raise sighting_not_found(sighting_id)
            return self._record(row)

    def _insert(self, connection: Connection, key: int, sighting: Sighting) -> None:
        connection.execute(
            insert(sightings).values(
                collection_key=key,
                id=sighting.sighting_id,
                camera_id=sighting.camera_id,
                codec_id=sighting.codec_id,
                png=sighting.png,
                quality=sighting.quality,
                captured_at=sighting.captured_at,
                stored_at=self._store.now(),
            )
        )

    def _record(self, row: Any) -> Sighting:
        return Sighting(
            row.id,
            row.camera_id,
            row.codec_id,
            row.png,
            row.quality,
            row.captured_at,
        )


def delete_expired(connection: Connection, now: datetime, most: int) -> int:
    """Delete up to `most` sightings whose retention has ended; how many there were."""
    old: list[int] = []
    for key in connection.scalars(select(collections.c.key)).all():
        kept_since = now - _retention(connection, key)
        query = select(sightings.c.key).where(
            sightings.c.collection_key == key, sightings.c.stored_at <= kept_since
        )
        old += connection.scalars(query.limit(most - len(old)))
    return connection.execute(delete(sightings).where(sightings.c.key.in_(old))).rowcount


def _retention(connection: Connection, key: int) -> timedelta:
    query = select(collections.c.sighting_retention_s).where(collections.c.key == key)
    return timedelta(seconds=connection.execute(query).scalar_one())


def _find(connection: Connection, key: int, sighting_id: str) -> Any:
    return connection.execute(
        _SIGHTING.where(sightings.c.collection_key == key, sightings.c.id == asked_for(sighting_id))
    ).one_or_none()


def _reused(sighting_id: str) -> AlreadyExists:
    return AlreadyExists(
        "SIGHTING_ID_REUSED",
        f"sighting id {shown(sighting_id)} was used with another body",
        field="sighting_id",
    )
