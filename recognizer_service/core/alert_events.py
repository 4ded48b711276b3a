"""What targets are told, and how they fail to take it."""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from recognizer_service.gallery.alert_outbox import Alert, Target

ALERT, TEST = "alert", "test"
"""The types of events."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a target is told.

    Attributes:
        event_id: a UUID, the same at every try.
        type: `ALERT` or `TEST`.
        at: when it happened, UTC.
        data: of it, as JSON has it.
    """

    event_id: str
    type: str
    at: datetime
    data: dict[str, Any]


class NotTaken(Exception):  # noqa: N818 - it is the rule, and no error, with a target that is away
    """A target did not take an event.

    Attributes:
        why: one sentence for people; safe to show to an admin.
        answered: whether the target is there, so that others of its events may fare better.
    """

    def __init__(self, why: str, *, answered: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.answered = answered


def event_of(alert: Alert) -> Event:
    """An alert as targets are told of it."""
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
    """An event by which an admin sees that a target is reached."""
    data = {"collection": target.collection_id, "rule_id": target.rule_id}
    return Event(str(uuid.uuid4()), TEST, datetime.fromtimestamp(time.time(), UTC), data)


def _text(moment: datetime | None) -> str | None:
    """RFC 3339, in UTC."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def as_json(event: Event) -> dict[str, Any]:
    """The payload of a webhook, as standardwebhooks.com recommends it."""
    return {"type": event.type, "timestamp": _text(event.at), "data": event.data}
