"""The outbox of alerts: events that their targets have not accepted yet.

Events are written in the transaction that stores a sighting's finding, so a crash cannot separate
the two. An event is stored as keys: deleting a subject also deletes its undelivered events.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select

from recognizer_service.gallery.context import Store
from recognizer_service.gallery.storage.rows import HIDDEN_PREFIX
from recognizer_service.gallery.storage.schema import (
    alert_rules,
    alerts,
    collections,
    labels,
    sightings,
    subjects,
)


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a rule with pending events.

    Attributes:
        rule_key: the rule's key.
        rule_id: the rule's id.
        collection_id: the rule's collection.
        url: webhook URL; "" for MQTT.
        secret: signs webhook requests.
    """

    rule_key: int
    rule_id: str
    collection_id: str
    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Alert:
    """One event, with the subject's current name and labels.

    Attributes:
        event_id: a UUID, the same for every attempt.
        rule_id: the rule that fired.
        collection_id: the collection.
        rung_at: when it fired, UTC.
        sighting_id: the sighting.
        camera_id: the sighting's camera.
        captured_at: when the picture was taken, UTC; None if unknown.
        received_at: when the sighting was stored, UTC.
        quality: of the face in [0, 1]; None if unknown.
        subject_id: the matched subject; "" for an unknown person.
        display_name: of the subject.
        labels: of the subject.
        similarity: cosine to the subject; None for an unknown person.
        threshold: the threshold it reached.
    """

    event_id: str
    rule_id: str
    collection_id: str
    rung_at: datetime
    sighting_id: str
    camera_id: str
    captured_at: datetime | None
    received_at: datetime
    quality: float | None
    subject_id: str
    display_name: str
    labels: tuple[str, ...]
    similarity: float | None
    threshold: float | None


class AlertOutbox:
    """The pending events of all rules."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def targets(self) -> Sequence[Target]:
        """Return the targets with pending events."""
        query = (
            select(
                alert_rules.c.key,
                alert_rules.c.id,
                collections.c.id.label("collection_id"),
                alert_rules.c.url,
                alert_rules.c.secret,
            )
            .join_from(alert_rules, collections)
            .where(~collections.c.id.startswith(HIDDEN_PREFIX))
            .where(select(alerts.c.key).where(alerts.c.rule_key == alert_rules.c.key).exists())
        )
        with self._store.database.reading() as connection:
            return [Target(*row) for row in connection.execute(query)]

    def waiting_for(self, rule_key: int) -> Sequence[int]:
        """Return the keys of a rule's pending events, oldest first."""
        query = select(alerts.c.key).where(alerts.c.rule_key == rule_key).order_by(alerts.c.key)
        with self._store.database.reading() as connection:
            return connection.scalars(query).all()

    def get(self, key: int) -> Alert | None:
        """Return one event; None if it is no longer pending."""
        query = (
            select(
                alerts.c.id,
                alert_rules.c.id.label("rule_id"),
                collections.c.id.label("collection_id"),
                alerts.c.created_at,
                sightings.c.id.label("sighting_id"),
                sightings.c.camera_id,
                sightings.c.captured_at,
                sightings.c.stored_at,
                sightings.c.quality,
                alerts.c.subject_key,
                subjects.c.id.label("subject_id"),
                subjects.c.display_name,
                alerts.c.similarity,
                alerts.c.threshold,
            )
            .join_from(alerts, alert_rules)
            .join(collections, collections.c.key == alert_rules.c.collection_key)
            .join(sightings, sightings.c.key == alerts.c.sighting_key)
            .outerjoin(subjects, subjects.c.key == alerts.c.subject_key)
            .where(alerts.c.key == key, ~collections.c.id.startswith(HIDDEN_PREFIX))
        )
        with self._store.database.reading() as connection:
            row = connection.execute(query).one_or_none()
            return None if row is None else _alert(row, _labels_of(connection, row.subject_key))

    def delivered(self, key: int) -> None:
        """Remove an event that the target accepted."""
        database = self._store.database
        with database.exclusive, database.writing(deleting=True) as connection:
            connection.execute(delete(alerts).where(alerts.c.key == key))

    def waiting(self) -> int:
        """Return the number of pending events of all rules."""
        with self._store.database.reading() as connection:
            return connection.scalar(select(func.count()).select_from(alerts)) or 0

    def oldest_s(self) -> float:
        """Return the age of the oldest pending event in seconds; 0 if there is none."""
        with self._store.database.reading() as connection:
            oldest = connection.scalar(select(func.min(alerts.c.created_at)))
        return 0 if oldest is None else max(0, (self._store.now() - oldest).total_seconds())


def delete_expired(connection: Connection, now: datetime, most: int) -> int:
    """Delete up to `most` events of expired sightings; return how many were deleted."""
    old: list[int] = []
    retention = select(collections.c.key, collections.c.sighting_retention_s)
    for key, seconds in connection.execute(retention).all():
        too_old = sightings.c.stored_at <= now - timedelta(seconds=seconds)
        query = select(alerts.c.key).join(sightings)
        query = query.where(sightings.c.collection_key == key, too_old)
        old += connection.scalars(query.limit(most - len(old)))
    return connection.execute(delete(alerts).where(alerts.c.key.in_(old))).rowcount


def _labels_of(connection: Connection, subject: int | None) -> tuple[str, ...]:
    query = select(labels.c.label).where(labels.c.subject_key == subject)
    return tuple(sorted(connection.scalars(query)))


def _alert(row: Any, with_labels: tuple[str, ...]) -> Alert:
    return Alert(
        event_id=row.id,
        rule_id=row.rule_id,
        collection_id=row.collection_id,
        rung_at=row.created_at,
        sighting_id=row.sighting_id,
        camera_id=row.camera_id,
        captured_at=row.captured_at,
        received_at=row.stored_at,
        quality=row.quality,
        subject_id=row.subject_id or "",
        display_name=row.display_name or "",
        labels=with_labels,
        similarity=row.similarity,
        threshold=row.threshold,
    )
