"""Sightings: maps streamed by cameras, kept for the collection's retention, and their findings."""

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, insert, or_, select

from recognizer_service.gallery import audit
from recognizer_service.gallery.alert_ringing import Rung, ring
from recognizer_service.gallery.audit import AuditEvent, Operation
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import (
    MAX_PAGE_SIZE,
    check_range,
    check_sighting,
    check_sighting_filter,
    shown,
)
from recognizer_service.gallery.paging import page_token, parse_token, read_page
from recognizer_service.gallery.storage.rows import (
    HIDDEN_PREFIX,
    asked_for,
    collection_key,
    sighting_not_found,
)
from recognizer_service.gallery.storage.schema import (
    collections,
    identifications,
    sightings,
    subjects,
)
from recognizer_service.gallery.types import (
    Camera,
    Page,
    SeenFace,
    Sighting,
    SightingFilter,
    SightingFinding,
    SightingMatch,
    SightingOutcome,
)
from shared.errors import AlreadyExists, CompactfaceError

_SIGHTING = select(
    sightings.c.id,
    sightings.c.camera_id,
    sightings.c.codec_id,
    sightings.c.png,
    sightings.c.quality,
    sightings.c.captured_at,
    sightings.c.stored_at,
)
_SEEN = (
    select(
        sightings.c.key,
        sightings.c.id,
        sightings.c.camera_id,
        sightings.c.codec_id,
        sightings.c.png,
        sightings.c.quality,
        sightings.c.captured_at,
        sightings.c.stored_at,
        sightings.c.seen_at,
        collections.c.id.label("collection_id"),
        identifications.c.key.label("position"),
        identifications.c.decision,
        identifications.c.failure,
        identifications.c.face_id,
        identifications.c.similarity,
        identifications.c.threshold,
        identifications.c.fmr,
        identifications.c.faces,
        identifications.c.extrapolated,
        subjects.c.id.label("subject_id"),
        subjects.c.display_name,
    )
    .join_from(sightings, collections)
    .outerjoin(identifications, identifications.c.sighting_key == sightings.c.key)
    .outerjoin(subjects, subjects.c.key == identifications.c.subject_key)
)
"""Selects the columns that `_seen_face` reads."""
_DELETED_AT_ONCE = 256
_EVERYTHING = SightingFilter()


class Sightings:
    """Stores, lists and deletes sightings, and stores their findings.

    Every method that names a collection raises NotFound if it does not exist.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def store(self, collection_id: str, sighting: Sighting) -> SightingOutcome:
        """Store a sighting; storing it again has no effect.

        Raises:
            InvalidInput: a field breaks a limit.
            AlreadyExists: the id was used with another body (SIGHTING_ID_REUSED).
        """
        (outcome,) = self.store_all(collection_id, [sighting])
        if isinstance(outcome, CompactfaceError):
            raise outcome
        return outcome

    def store_all(
        self, collection_id: str, given: Sequence[Sighting]
    ) -> list[SightingOutcome | CompactfaceError]:
        """Store sightings in one transaction; return each outcome or error, as in `store`."""
        # Not `changing`: no index is updated, so the space served does not matter.
        database = self._store.database
        with database.exclusive, database.writing() as connection:
            key = collection_key(connection, collection_id)
            kept = bool(_retention(connection, key))
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
        if row := _find(connection, key, sighting.sighting_id):
            if _record(row) != sighting:
                return _reused(sighting.sighting_id)
            return SightingOutcome.DUPLICATE
        self._insert(connection, key, sighting)
        return SightingOutcome.STORED

    def get(self, collection_id: str, sighting_id: str) -> Sighting:
        """Return one sighting, or raise NotFound (SIGHTING_NOT_FOUND) if unknown or expired."""
        return self.find(collection_id, [sighting_id])[0].sighting

    def find(self, collection_id: str, sighting_ids: Sequence[str]) -> list[SeenFace]:
        """Return some sightings with their findings, in order; raises as `get`."""
        with self._store.database.reading() as connection:
            key = collection_key(connection, collection_id)
            ids = [asked_for(sighting_id) for sighting_id in sighting_ids]
            query = self._kept(connection, key).where(sightings.c.id.in_(ids))
            found = {row.id: _seen_face(row) for row in connection.execute(query)}
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
            query = _filtered(self._kept(connection, key), only)
            if page_token:
                query = query.where(_before(*parse_token(page_token, _place)))
            order = (sightings.c.seen_at.desc(), sightings.c.key.desc())
            rows = connection.execute(query.order_by(*order).limit(page_size + 1)).all()
            return _page(rows, page_size)

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
            The number deleted, and the number of the erasure for `Gallery.erased`; the latter is 0
            if nothing was deleted or the database cannot report erasure.
        """
        check_sighting_filter(only)
        chosen = _filtered(_SEEN.with_only_columns(sightings.c.key), only)
        if sighting_ids is not None:
            chosen = chosen.where(sightings.c.id.in_(map(asked_for, sighting_ids)))
        event = AuditEvent(self._store.now(), caller, Operation.DELETE_SIGHTINGS, collection_id)
        total = erasure = 0
        for batch in itertools.count():
            with self._store.changing(), self._store.database.writing(deleting=True) as connection:
                key = collection_key(connection, collection_id)
                if batch == 0:  # in the first transaction: what follows may be interrupted
                    audit.record(connection, event)
                some = chosen.where(sightings.c.collection_key == key).limit(_DELETED_AT_ONCE)
                keys = connection.scalars(some).all()
                if keys:
                    connection.execute(delete(sightings).where(sightings.c.key.in_(keys)))
                    erasure = self._store.database.mark_erasure(connection)
            total += len(keys)
            if len(keys) < _DELETED_AT_ONCE:
                break
        return total, erasure

    def unidentified(self, *, after: int, most: int) -> Sequence[SeenFace]:
        """Return up to `most` unidentified sightings of all collections.

        Args:
            after: only those with a higher key.
            most: maximum number.
        """
        query = _SEEN.where(
            sightings.c.key > after,
            identifications.c.key.is_(None),
            ~collections.c.id.startswith(HIDDEN_PREFIX),
        )
        with self._store.database.reading() as connection:
            rows = connection.execute(query.order_by(sightings.c.key).limit(most))
            return [_seen_face(row) for row in rows]

    def keep_findings(self, findings: Mapping[int, SightingFinding]) -> Rung:
        """Store the findings of sightings by key, replacing earlier ones.

        Sightings deleted in the meantime are skipped. Alert rules apply to sightings identified for
        the first time.
        """
        keys = list(findings)
        database = self._store.database
        with database.exclusive, database.writing() as connection:
            there = set(
                connection.scalars(select(sightings.c.key).where(sightings.c.key.in_(keys)))
            )
            before = identifications.c.sighting_key.in_(keys)
            known = set(connection.scalars(select(identifications.c.sighting_key).where(before)))
            connection.execute(delete(identifications).where(before))
            matched = _matched_subjects(connection, {key: findings[key] for key in there})
            rows = [_finding_row(key, findings[key], matched) for key in keys if key in there]
            if rows:
                connection.execute(insert(identifications), rows)
            new = [row for row in rows if row["sighting_key"] not in known]
            return ring(connection, new, self._store.now())

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
            query = _filtered(self._kept(connection, key), only).where(
                identifications.c.key > after, identifications.c.key <= up_to
            )
            rows = connection.execute(query.order_by(identifications.c.key).limit(most))
            return [_seen_face(row) for row in rows]

    def _kept(self, connection: Connection, key: int) -> Select[Any]:
        """Select the unexpired sightings of a collection."""
        kept_since = self._store.clock.expiry() - _retention(connection, key)
        return _SEEN.where(sightings.c.collection_key == key, sightings.c.stored_at > kept_since)

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


def _filtered(query: Select[Any], only: SightingFilter) -> Select[Any]:
    if only.since:
        query = query.where(sightings.c.seen_at >= only.since)
    if only.until:
        query = query.where(sightings.c.seen_at < only.until)
    if only.camera_id:
        query = query.where(_is_of(only.camera_id))
    if only.subject_id:
        query = query.where(subjects.c.id == asked_for(only.subject_id))
    if only.decisions:
        query = query.where(identifications.c.decision.in_(only.decisions))
    return query


def _is_of(camera_id: str) -> Any:
    """Build the condition for sightings of a camera, or of all cameras of an encoder."""
    column = sightings.c.camera_id
    # Not LIKE, which ignores case in SQLite.
    within = and_(column >= f"{camera_id}/", column < f"{camera_id}{chr(ord('/') + 1)}")
    return or_(column == camera_id, within)


def _before(seen_at: datetime, key: int) -> Any:
    """Build the condition for rows after a sighting in a listing."""
    earlier = sightings.c.seen_at < seen_at
    return or_(earlier, and_(sightings.c.seen_at == seen_at, sightings.c.key < key))


def _page(rows: Sequence[Any], size: int) -> Page[SeenFace]:
    token = ""
    if len(rows) > size:
        last = rows[size - 1]
        token = page_token(f"{last.seen_at.isoformat()} {last.key}")
    return Page(tuple(_seen_face(row) for row in rows[:size]), token)


def _place(text: str) -> tuple[datetime, int]:
    """Parse the position of a page token; raises ValueError."""
    seen_at, key = text.split(" ")
    time = datetime.fromisoformat(seen_at)
    if time.tzinfo is None:
        raise ValueError(text)
    return time, audit.parse_key(key)


def _record(row: Any) -> Sighting:
    return Sighting(row.id, row.camera_id, row.codec_id, row.png, row.quality, row.captured_at)


def _seen_face(row: Any) -> SeenFace:
    return SeenFace(
        key=row.key,
        collection_id=row.collection_id,
        sighting=_record(row),
        received_at=row.stored_at,
        finding=None if row.position is None else _finding(row),
        position=row.position or 0,
    )


def _finding(row: Any) -> SightingFinding:
    match = None
    if row.similarity is not None:
        match = SightingMatch(
            row.subject_id or "",
            row.display_name or "",
            row.face_id,
            row.similarity,
            row.threshold,
            row.fmr,
            row.faces,
            row.extrapolated,
        )
    return SightingFinding(row.decision, row.failure, match)


def _matched_subjects(
    connection: Connection, findings: Mapping[int, SightingFinding]
) -> Mapping[tuple[int, str], int]:
    """Return the keys of the subjects that matched, by sighting key and subject id."""
    ids = {finding.match.subject_id for finding in findings.values() if finding.match}
    query = (
        select(sightings.c.key, subjects.c.id, subjects.c.key.label("subject_key"))
        .join_from(sightings, subjects, subjects.c.collection_key == sightings.c.collection_key)
        .where(sightings.c.key.in_(findings), subjects.c.id.in_(ids))
    )
    return {(row.key, row.id): row.subject_key for row in connection.execute(query)}


def _finding_row(
    key: int, finding: SightingFinding, matched: Mapping[tuple[int, str], int]
) -> dict[str, Any]:
    row = dict.fromkeys(identifications.c.keys())
    del row["key"]
    row |= {"sighting_key": key, "decision": finding.decision, "failure": finding.failure}
    if match := finding.match:
        row |= {
            "subject_key": matched.get((key, match.subject_id)),
            "face_id": match.face_id,
            "similarity": match.similarity,
            "threshold": match.threshold,
            "fmr": match.fmr,
            "faces": match.faces,
            "extrapolated": match.extrapolated,
        }
    return row


def _reused(sighting_id: str) -> AlreadyExists:
    return AlreadyExists(
        "SIGHTING_ID_REUSED",
        f"sighting id {shown(sighting_id)} was used with another body",
        field="sighting_id",
    )
