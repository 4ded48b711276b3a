"""Events for alert targets, and the error when delivery fails."""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from recognizer_service.gallery.alerts.outbox import Alert, Target

ALERT, TEST = "alert", "test"
"""Event types."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event for a target.

    Attributes:
        event_id: a UUID, the same for every attempt.
        type: `ALERT` or `TEST`.
        at: when it happened, UTC.
        data: JSON-compatible payload.
    """

    event_id: str
    type: str
    at: datetime
    data: dict[str, Any]


class NotTaken(Exception):  # noqa: N818 - an expected outcome, not a fault
    """A target did not accept an event.

    Attributes:
        why: one readable sentence; safe to show to an admin.
        answered: whether the target responded, so that other events may succeed.
    """

    def __init__(self, why: str, *, answered: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.answered = answered


def event_of(alert: Alert) -> Event:
    """Build the event of an alert."""
    subject = None
    if alert.subject_id:
        subject = {
            "subject_id": alert.subject_id,
            "display_name": alert.display_name,
            "labels": list(alert.labels),
            "similarity": alert.similarity,
            "threshold": alert.threshold,
        }
    sighting = {
        "sighting_id": alert.sighting_id,
        "camera_id": alert.camera_id,
        "capture_time": _text(alert.captured_at),
        "receive_time": _text(alert.received_at),
        "quality": alert.quality,
    }
    data = {
        "collection": alert.collection_id,
        "rule_id": alert.rule_id,
        "sighting": sighting,
        "subject": subject,
    }
    return Event(alert.event_id, ALERT, alert.rung_at, data)


def event_of_test(target: Target) -> Event:
    """Build a test event, with which an admin checks that a target is reachable."""
    data = {"collection": target.collection_id, "rule_id": target.rule_id}
    return Event(str(uuid.uuid4()), TEST, datetime.fromtimestamp(time.time(), UTC), data)


def _text(moment: datetime | None) -> str | None:
    """Format a time as RFC 3339 in UTC."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def as_json(event: Event) -> dict[str, Any]:
    """Build the webhook payload in the format that standardwebhooks.com recommends."""
    return {"type": event.type, "timestamp": _text(event.at), "data": event.data}
