"""Alert rules of collections: which sightings trigger an alert, and where it is sent."""

import base64
import binascii
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from sqlalchemy import Connection, delete, func, insert, select

from recognizer_service.gallery import audit
from recognizer_service.gallery.audit import AuditEvent, Operation
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import (
    MAX_TAG_CHARACTERS,
    canonical,
    check_range,
    check_text,
    shown,
)
from recognizer_service.gallery.paging import Page, parse_key, read_page
from recognizer_service.gallery.storage.rows import asked_for, collection_key, subject_key
from recognizer_service.gallery.storage.schema import alert_rules, alerts, collections, subjects
from shared.errors import FailedPrecondition, InvalidInput, NotFound
from shared.hosts import is_loopback

MAX_RULES = 100
"""Maximum number of rules per collection."""
MAX_QUIET_S = 30 * 24 * 3600
MAX_URL_CHARACTERS = 2048
SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix defined by standardwebhooks.com
_SECRET_BYTES = range(24, 65)


@dataclass(frozen=True, slots=True)
class AlertRule:
    """An alert rule.

    Attributes:
        rule_id: a UUID; "" for a new rule.
        subject_id: fires for this subject; if "", see `label`.
        label: fires for subjects with this label; if both are "", fires for unknown people.
        camera_id: only at this camera, or at the cameras of this encoder; "" for any.
        quiet_s: minimum time between two alerts for the same person, in seconds.
        url: webhook URL; "" for MQTT.
        secret: signs webhook requests.
        created_at: when it was created, UTC; None for a new rule.
        waiting: number of undelivered events.
    """

    subject_id: str = ""
    label: str = ""
    camera_id: str = ""
    quiet_s: int = 0
    url: str = ""
    secret: str = field(default="", repr=False)
    rule_id: str = ""
    created_at: datetime | None = None
    waiting: int = 0


_waiting = select(func.count()).where(alerts.c.rule_key == alert_rules.c.key).scalar_subquery()
_RULE = (
    select(
        alert_rules.c.key,
        alert_rules.c.id,
        subjects.c.id.label("subject_id"),
        alert_rules.c.label,
        alert_rules.c.camera_id,
        alert_rules.c.quiet_s,
        alert_rules.c.url,
        alert_rules.c.secret,
        alert_rules.c.created_at,
        _waiting.label("waiting"),
    )
    .join_from(alert_rules, collections)
    .outerjoin(subjects, subjects.c.key == alert_rules.c.subject_key)
)


class AlertRules:
    """Create, get, list and delete rules.

    Every method raises NotFound if the collection does not exist.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, collection_id: str, rule: AlertRule, *, caller: str = "") -> AlertRule:
        """Add a rule, on behalf of a caller.

        Raises:
            InvalidInput: a field breaks a limit.
            NotFound: no such subject.
            FailedPrecondition: the collection has the maximum number of rules
                (TOO_MANY_ALERT_RULES).
        """
        _check(rule)
        rule_id, now = str(uuid4()), self._store.now()
        event = AuditEvent(now, caller, Operation.CREATE_ALERT_RULE, collection_id, rule.subject_id)
        with self._store.changing(), self._store.database.writing() as connection:
            owner = collection_key(connection, collection_id)
            subject = None
            if rule.subject_id:
                subject = subject_key(connection, collection_id, rule.subject_id)
            _check_room(connection, collection_id, owner)
            connection.execute(
                insert(alert_rules).values(
                    collection_key=owner,
                    id=rule_id,
                    subject_key=subject,
                    label=canonical(rule.label),
                    camera_id=rule.camera_id,
                    quiet_s=rule.quiet_s,
                    url=rule.url,
                    secret=rule.secret,
                    created_at=now,
                )
            )
            audit.record(connection, event)
            return _record(_row(connection, owner, rule_id))

    def get(self, collection_id: str, rule_id: str) -> AlertRule:
        """Return one rule, or raise NotFound (ALERT_RULE_NOT_FOUND)."""
        with self._store.database.reading() as connection:
            return _record(_row(connection, collection_key(connection, collection_id), rule_id))

    def list(
        self, collection_id: str, *, page_size: int = 100, page_token: str = ""
    ) -> Page[AlertRule]:
        """Return one page of the rules, oldest first."""
        with self._store.database.reading() as connection:
            owner = collection_key(connection, collection_id)
            return read_page(
                connection,
                _RULE.where(alert_rules.c.collection_key == owner),
                by=alert_rules.c.key,
                record=_record,
                size=page_size,
                token=page_token,
                parse=parse_key,
            )

    def delete(self, collection_id: str, rule_id: str, *, caller: str = "") -> None:
        """Delete a rule with its secret and pending events, on behalf of a caller."""
        with self._store.changing(), self._store.database.writing(deleting=True) as connection:
            row = _row(connection, collection_key(connection, collection_id), rule_id)
            connection.execute(delete(alert_rules).where(alert_rules.c.key == row.key))
            audit.record(
                connection,
                AuditEvent(
                    self._store.now(),
                    caller,
                    Operation.DELETE_ALERT_RULE,
                    collection_id,
                    row.subject_id or "",
                ),
            )
            self._store.database.mark_erasure(connection)  # erases the secret


def _row(connection: Connection, owner: int, rule_id: str) -> Any:
    one = _RULE.where(alert_rules.c.collection_key == owner, alert_rules.c.id == asked_for(rule_id))
    row = connection.execute(one).one_or_none()
    if row is None:
        raise NotFound(
            "ALERT_RULE_NOT_FOUND", f"there is no alert rule {shown(rule_id)}", field="rule_id"
        )
    return row


def _record(row: Any) -> AlertRule:
    return AlertRule(
        subject_id=row.subject_id or "",
        label=row.label,
        camera_id=row.camera_id,
        quiet_s=row.quiet_s,
        url=row.url,
        secret=row.secret,
        rule_id=row.id,
        created_at=row.created_at,
        waiting=row.waiting,
    )


def _check(rule: AlertRule) -> None:
    check_text(rule.subject_id, "rule.subject_id", least=0)
    check_text(rule.label, "rule.label", least=0, most=MAX_TAG_CHARACTERS)
    check_text(rule.camera_id, "rule.camera_id", least=0)
    check_range(rule.quiet_s, 0, MAX_QUIET_S, "rule.quiet_time")
    if rule.url:
        _check_url(rule.url)
        _check_secret(rule.secret)


def _check_room(connection: Connection, collection_id: str, owner: int) -> None:
    count = select(func.count()).where(alert_rules.c.collection_key == owner)
    if (connection.scalar(count) or 0) >= MAX_RULES:
        raise FailedPrecondition(
            "TOO_MANY_ALERT_RULES",
            f"collection {shown(collection_id)} has {MAX_RULES} alert rules, the most it may have",
        )


def _check_url(url: str) -> None:
    check_text(url, "rule.webhook.url", most=MAX_URL_CHARACTERS)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # the port is validated on access
    except ValueError as error:
        raise _invalid_url(url, str(error)) from None
    if not host or not url.isascii() or " " in url:
        raise _invalid_url(url, "a URL with a host, in ASCII, is expected")
    if parts.username is not None or parts.fragment:
        raise InvalidInput(  # omits the URL, which may hold a password
            "INVALID_URL",
            "the webhook's URL holds a user, a password or a fragment; receivers know us by the "
            "signature",
            field="rule.webhook.url",
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise _invalid_url(url, "it must begin with https://, or with http:// on this host")


def _invalid_url(url: str, why: str) -> InvalidInput:
    return InvalidInput(
        "INVALID_URL",
        f"the webhook's URL is {shown(url)}: {why}",
        field="rule.webhook.url",
    )


def _check_secret(secret: str) -> None:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in _SECRET_BYTES:
        raise InvalidInput(  # without the value
            "INVALID_SECRET",
            f"the webhook's secret must be {SECRET_PREFIX!r} and the base64 of "
            f"{_SECRET_BYTES[0]} to {_SECRET_BYTES[-1]} bytes",
            field="rule.webhook.secret",
        )
