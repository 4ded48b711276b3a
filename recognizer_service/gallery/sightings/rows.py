"""Sightings and their findings in the database: queries, rows and records."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, or_, select

from recognizer_service.gallery.paging import Page, page_token, parse_key
from recognizer_service.gallery.sightings.types import (
    SeenFace,
    Sighting,
    SightingFilter,
    SightingFinding,
    SightingMatch,
)
from recognizer_service.gallery.storage.rows import asked_for
from recognizer_service.gallery.storage.schema import (
    collections,
    grouped,
    identifications,
    sightings,
    strangers,
    subjects,
)

_COLUMNS = (
    sightings.c.id,
    sightings.c.camera_id,
    sightings.c.codec_id,
    sightings.c.png,
    sightings.c.quality,
    sightings.c.captured_at,
    sightings.c.stored_at,
)
SIGHTING = select(*_COLUMNS)
"""Selects the columns that `sighting_of` reads."""
SEEN = (
    select(
        sightings.c.key,
        *_COLUMNS,
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
        strangers.c.number.label("stranger"),
    )
    .join_from(sightings, collections)
    .outerjoin(identifications, identifications.c.sighting_key == sightings.c.key)
    .outerjoin(subjects, subjects.c.key == identifications.c.subject_key)
    .outerjoin(grouped, grouped.c.sighting_key == sightings.c.key)
    .outerjoin(strangers, strangers.c.key == grouped.c.stranger_key)
)
"""Selects the columns that `seen_face_of` reads."""


def retention_of(connection: Connection, key: int) -> timedelta:
    """Return how long a collection keeps sightings."""
    query = select(collections.c.sighting_retention_s).where(collections.c.key == key)
    return timedelta(seconds=connection.execute(query).scalar_one())


def find_sighting(connection: Connection, key: int, sighting_id: str) -> Any:
    """Return the row of a sighting, with the columns of `SIGHTING`; None if there is none."""
    return connection.execute(
        SIGHTING.where(sightings.c.collection_key == key, sightings.c.id == asked_for(sighting_id))
    ).one_or_none()


def filtered(query: Select[Any], only: SightingFilter) -> Select[Any]:
    """Restrict a query of `SEEN` to the sightings that match a filter."""
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
    if only.stranger:
        query = query.where(strangers.c.number == only.stranger)
    return query


def _is_of(camera_id: str) -> Any:
    """Build the condition for sightings of a camera, or of all cameras of an encoder."""
    column = sightings.c.camera_id
    # Not LIKE, which ignores case in SQLite.
    within = and_(column >= f"{camera_id}/", column < f"{camera_id}{chr(ord('/') + 1)}")
    return or_(column == camera_id, within)


def sighting_of(row: Any) -> Sighting:
    """Convert a row of `SIGHTING`, or of `SEEN`."""
    return Sighting(row.id, row.camera_id, row.codec_id, row.png, row.quality, row.captured_at)


def seen_face_of(row: Any) -> SeenFace:
    """Convert a row of `SEEN`."""
    return SeenFace(
        key=row.key,
        collection_id=row.collection_id,
        sighting=sighting_of(row),
        received_at=row.stored_at,
        finding=None if row.position is None else _finding(row),
        position=row.position or 0,
        stranger=row.stranger or 0,
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


def matched_subjects(
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


def finding_row(
    key: int, finding: SightingFinding, matched: Mapping[tuple[int, str], int]
) -> dict[str, Any]:
    """Return the row of a finding, with the keys from `matched_subjects`."""
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


def listed_after(seen_at: datetime, key: int) -> Any:
    """Build the condition for rows after a sighting in a listing."""
    earlier = sightings.c.seen_at < seen_at
    return or_(earlier, and_(sightings.c.seen_at == seen_at, sightings.c.key < key))


def seen_page(rows: Sequence[Any], size: int) -> Page[SeenFace]:
    """Convert rows of `SEEN` to a page of `size`; one more row shows that another page follows."""
    token = ""
    if len(rows) > size:
        last = rows[size - 1]
        token = page_token(f"{last.seen_at.isoformat()} {last.key}")
    return Page(tuple(seen_face_of(row) for row in rows[:size]), token)


def parse_place(text: str) -> tuple[datetime, int]:
    """Parse the position of a page token; raises ValueError."""
    seen_at, key = text.split(" ")
    time = datetime.fromisoformat(seen_at)
    if time.tzinfo is None:
        raise ValueError(text)
    return time, parse_key(key)
