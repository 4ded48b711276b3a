"""Stores the findings of sightings; with them strangers are grouped and alert rules ring."""

from collections.abc import Mapping

from sqlalchemy import delete, insert, select

from recognizer_service.gallery.alerts.ringing import UNKNOWN, Rung, ring
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.sightings.grouping import group, leave
from recognizer_service.gallery.sightings.rows import finding_row, matched_subjects
from recognizer_service.gallery.sightings.types import SightingFinding, UnknownFace
from recognizer_service.gallery.storage.schema import collections, identifications, sightings


def keep(
    store: Store, findings: Mapping[int, SightingFinding], unknown: Mapping[int, UnknownFace]
) -> Rung:
    """Store the findings of sightings by key, replacing earlier ones, in one transaction.

    Sightings deleted in the meantime are skipped. Unknown ones join strangers if their collection
    groups them, others leave theirs. Alert rules apply to sightings identified for the first time.

    Args:
        store: the gallery.
        findings: by key of the sighting.
        unknown: faces of those that match no subject and may be grouped, by key.

    Raises:
        EmbeddingSpaceChanged: sightings are grouped, and another space is served.
    """
    keys = list(findings)
    database = store.database
    unknown = unknown if unknown and _any_grouped(store) else {}
    with store.changing() if unknown else database.exclusive, database.writing() as connection:
        for face in unknown.values():
            store.cache_in(face.space)
        there = set(connection.scalars(select(sightings.c.key).where(sightings.c.key.in_(keys))))
        before = identifications.c.sighting_key.in_(keys)
        known = set(connection.scalars(select(identifications.c.sighting_key).where(before)))
        connection.execute(delete(identifications).where(before))
        matched = matched_subjects(connection, {key: findings[key] for key in there})
        rows = [finding_row(key, findings[key], matched) for key in keys if key in there]
        if rows:
            connection.execute(insert(identifications), rows)
        decided = [key for key in keys if findings[key].decision]
        leave(connection, [key for key in decided if findings[key].decision not in UNKNOWN])
        if unknown:
            group(connection, unknown, now=store.now(), expiry=store.clock.expiry())
        new = [row for row in rows if row["sighting_key"] not in known]
        return ring(connection, new, store.now())


def _any_grouped(store: Store) -> bool:
    grouping = select(collections.c.key).where(collections.c.max_stranger_fpir > 0)
    with store.database.reading() as connection:
        return connection.scalar(grouping.limit(1)) is not None
