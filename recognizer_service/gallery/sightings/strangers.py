"""Strangers: people who are not enrolled, each a group of unknown sightings; see `grouping`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, exists, func, or_, select, update

from recognizer_service.gallery.context import Store
from recognizer_service.gallery.enrolment import enrolled_before
from recognizer_service.gallery.limits import MAX_PAGE_SIZE, check_range
from recognizer_service.gallery.paging import Page, page_token, parse_token
from recognizer_service.gallery.sightings.rows import SEEN, parse_place, retention_of, seen_face_of
from recognizer_service.gallery.sightings.types import SeenFace, Stranger
from recognizer_service.gallery.storage.rows import collection_key, stranger_not_found
from recognizer_service.gallery.storage.schema import MAX_KEY, grouped, sightings, strangers
from recognizer_service.gallery.types import Embedding, Enrolled, Enrolment


class Strangers:
    """Lists strangers, finds their sightings, and embeds them again after a change of model.

    Every method that names a collection raises NotFound if it does not exist.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(
        self,
        collection_id: str,
        *,
        min_sightings: int = 1,
        page_size: int = 100,
        page_token: str = "",
    ) -> Page[Stranger]:
        """Return one page of the strangers, last seen first.

        Reads all unexpired sightings of strangers, but not their maps.

        Args:
            collection_id: the collection.
            min_sightings: only strangers seen at least so often.
            page_size: maximum number, 1 to 1000.
            page_token: token of the previous page; "" for the first page.
        """
        check_range(page_size, 1, MAX_PAGE_SIZE, "page_size")
        last, count = func.max(sightings.c.seen_at), func.count()
        with self._store.database.reading() as connection:
            key = collection_key(connection, collection_id)
            query = (
                self._members(connection, key)
                .with_only_columns(
                    strangers.c.key,
                    strangers.c.number,
                    count.label("sightings"),
                    func.min(sightings.c.seen_at).label("first_seen_at"),
                    last.label("last_seen_at"),
                )
                .group_by(strangers.c.key, strangers.c.number)
                .having(count >= min_sightings)
            )
            if page_token:
                seen_at, after = parse_token(page_token, parse_place)
                earlier = or_(last < seen_at, (last == seen_at) & (strangers.c.key < after))
                query = query.having(earlier)
            query = query.order_by(last.desc(), strangers.c.key.desc())
            rows = connection.execute(query.limit(page_size + 1)).all()
            return self._page(connection, key, rows, page_size)

    def sightings(self, collection_id: str, number: int) -> Sequence[SeenFace]:
        """Return the unexpired sightings of a stranger, those of the highest quality first.

        Raises:
            NotFound: it has none, or there is no such stranger (STRANGER_NOT_FOUND).
        """
        with self._store.database.reading() as connection:
            key = collection_key(connection, collection_id)
            query = SEEN.where(
                sightings.c.collection_key == key,
                sightings.c.stored_at > self._kept_since(connection, key),
                strangers.c.number == min(number, MAX_KEY),
            ).order_by(*_BEST)
            found = [seen_face_of(row) for row in connection.execute(query)]
        if not found:
            raise stranger_not_found(number)
        return found

    def named_before(
        self,
        collection_id: str,
        stranger: Enrolment,
        *,
        caller: str,
        request_id: str,
        refuse_duplicates: bool,
    ) -> Enrolled | None:
        """Return the answer to the same request that named a stranger before; None if it is new.

        Raises:
            AlreadyExists: the request id was used with another body (REQUEST_ID_REUSED).
        """
        return enrolled_before(
            self._store,
            collection_id,
            stranger,
            caller=caller,
            request_id=request_id,
            refuse_duplicates=refuse_duplicates,
        )

    def stale(self, space: str, *, most: int) -> Sequence[SeenFace]:
        """Return up to `most` sightings whose embedding is of another space, latest first."""
        query = SEEN.where(grouped.c.space != space).order_by(sightings.c.key.desc()).limit(most)
        with self._store.database.reading() as connection:
            return [seen_face_of(row) for row in connection.execute(query)]

    def renew(self, space: str, vectors: Mapping[int, Embedding | None]) -> None:
        """Replace embeddings, by key of the sighting, by those in the space served.

        Sightings that cannot be embedded (None) stay with their stranger, and are not compared.

        Raises:
            EmbeddingSpaceChanged: another space is served.
        """
        with self._store.changing():
            self._store.cache_in(space)
            with self._store.database.writing() as connection:
                for key, vector in vectors.items():
                    connection.execute(
                        update(grouped)
                        .where(grouped.c.sighting_key == key)
                        .values(
                            space=None if vector is None else space,
                            vector=None if vector is None else vector.tobytes(),
                        )
                    )

    def _kept_since(self, connection: Connection, key: int) -> datetime:
        return self._store.clock.expiry() - retention_of(connection, key)

    def _members(self, connection: Connection, key: int) -> Select[Any]:
        """Select from the unexpired sightings of the strangers of a collection."""
        return (
            select(strangers.c.key)
            .join_from(strangers, grouped)
            .join(sightings)
            .where(
                strangers.c.collection_key == key,
                sightings.c.stored_at > self._kept_since(connection, key),
            )
        )

    def _page(
        self, connection: Connection, key: int, rows: Sequence[Any], size: int
    ) -> Page[Stranger]:
        token = ""
        if len(rows) > size:
            rows = rows[:size]
            token = page_token(f"{rows[-1].last_seen_at.isoformat()} {rows[-1].key}")
        members = self._members(connection, key).where(
            strangers.c.key.in_([row.key for row in rows])
        )
        rank = func.row_number().over(partition_by=strangers.c.key, order_by=_BEST)
        ranked = members.with_only_columns(
            strangers.c.key, sightings.c.id, rank.label("rank")
        ).subquery()
        best = {
            row.key: row.id for row in connection.execute(select(ranked).where(ranked.c.rank == 1))
        }
        cameras: dict[int, list[str]] = {}
        last = func.max(sightings.c.seen_at).desc()
        by_camera = members.with_only_columns(strangers.c.key, sightings.c.camera_id)
        by_camera = by_camera.group_by(strangers.c.key, sightings.c.camera_id)
        for row in connection.execute(by_camera.order_by(last, sightings.c.camera_id)):
            cameras.setdefault(row.key, []).append(row.camera_id)
        return Page(
            tuple(
                Stranger(
                    row.number,
                    row.sightings,
                    tuple(cameras[row.key]),
                    row.first_seen_at,
                    row.last_seen_at,
                    best[row.key],
                )
                for row in rows
            ),
            token,
        )


_BEST = (
    func.coalesce(grouped.c.quality, 0).desc(),
    sightings.c.seen_at.desc(),
    sightings.c.key.desc(),
)


def delete_empty(connection: Connection, now: datetime, most: int) -> int:
    """Delete up to `most` strangers without sightings; return how many were deleted."""
    del now
    without = ~exists().where(grouped.c.stranger_key == strangers.c.key)
    keys = connection.scalars(select(strangers.c.key).where(without).limit(most)).all()
    return connection.execute(delete(strangers).where(strangers.c.key.in_(keys))).rowcount
