"""Which alert rules ring for newly identified sightings.

The number of statements does not depend on the number of sightings.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, or_, select, update

from recognizer_service.gallery.storage.schema import (
    alert_rules,
    alerts,
    grouped,
    labels,
    rings,
    sightings,
)
from shared.camera_name import encoder_of

MAX_WAITING = 1000
"""Maximum number of pending events per rule; beyond it the oldest is dropped."""
MATCH = "match"
UNKNOWN = ("no_match", "empty_gallery")
"""Decisions that mean an unknown person; poor pictures are inconclusive and do not count."""


@dataclass(frozen=True, slots=True)
class Rung:
    """The result of comparing sightings with the rules.

    Attributes:
        events: number of new pending events.
        dropped: number of older events dropped to make room.
    """

    events: int = 0
    dropped: int = 0


def ring(connection: Connection, findings: Sequence[Mapping[str, Any]], now: datetime) -> Rung:
    """Compare sightings with the rules of their collections, in the caller's transaction.

    Args:
        connection: the transaction's connection.
        findings: rows of `identifications` for sightings identified for the first time.
        now: the current time.
    """
    telling = [
        finding
        for finding in sorted(findings, key=lambda row: int(row["sighting_key"]))
        if finding["decision"] in UNKNOWN
        # Without a key, the subject was deleted in the meantime.
        or (finding["decision"] == MATCH and finding["subject_key"] is not None)
    ]
    if not telling:
        return Rung()
    seen = {
        row.key: row
        for row in connection.execute(
            select(
                sightings.c.key,
                sightings.c.collection_key,
                sightings.c.camera_id,
                sightings.c.seen_at,
                grouped.c.stranger_key,
            )
            .outerjoin(grouped, grouped.c.sighting_key == sightings.c.key)
            .where(sightings.c.key.in_([finding["sighting_key"] for finding in telling]))
        )
    }
    rules = _rules_of(connection, {row.collection_key for row in seen.values()})
    if not rules:
        return Rung()
    people = {finding["subject_key"] for finding in telling} - {None}
    labels_of = _labels_of(connection, people)
    strangers = {row.stranger_key for row in seen.values()} - {None}
    quiet = _Quiet(connection, rules, people, strangers)
    rung: list[dict[str, Any]] = []
    for finding in telling:
        sighting, subject = seen[finding["sighting_key"]], finding["subject_key"]
        for rule in rules[sighting.collection_key]:
            if not _applies(rule, sighting, subject, labels_of[subject]):
                continue
            if quiet.covers(rule, sighting, subject):
                continue
            rung.append(
                {
                    "id": str(uuid4()),
                    "rule_key": rule.key,
                    "sighting_key": finding["sighting_key"],
                    "subject_key": subject,
                    "similarity": finding["similarity"],
                    "threshold": finding["threshold"],
                    "created_at": now,
                }
            )
    if not rung:
        return Rung()
    connection.execute(insert(alerts), rung)
    quiet.keep()
    return Rung(len(rung), _make_room(connection, {row["rule_key"] for row in rung}))


def _rules_of(connection: Connection, owners: set[int]) -> Mapping[int, Sequence[Any]]:
    """Return the rules by collection, oldest first."""
    found = defaultdict(list)
    query = select(
        alert_rules.c.key,
        alert_rules.c.collection_key,
        alert_rules.c.subject_key,
        alert_rules.c.label,
        alert_rules.c.camera_id,
        alert_rules.c.quiet_s,
    ).where(alert_rules.c.collection_key.in_(owners))
    for rule in connection.execute(query.order_by(alert_rules.c.key)):
        found[rule.collection_key].append(rule)
    return found


def _labels_of(connection: Connection, people: set[int]) -> Mapping[int | None, set[str]]:
    found = defaultdict(set)
    query = select(labels.c.subject_key, labels.c.label).where(labels.c.subject_key.in_(people))
    for row in connection.execute(query):
        found[row.subject_key].add(row.label)
    return found


def _applies(rule: Any, sighting: Any, subject: int | None, with_labels: set[str]) -> bool:
    """Return whether a rule is about this camera and subject, or unknown people."""
    if rule.camera_id not in {"", sighting.camera_id, encoder_of(sighting.camera_id)}:
        return False
    if rule.label:
        return rule.label in with_labels
    return bool(rule.subject_key == subject)


_Person = tuple[int | None, int | None, str]


def _person(sighting: Any, subject: int | None) -> _Person:
    """Return whom a sighting shows: a subject, a stranger, or anybody unknown at its camera."""
    if subject is not None:
        return subject, None, ""
    if sighting.stranger_key is not None:
        return None, sighting.stranger_key, ""
    return None, None, sighting.camera_id


class _Quiet:
    """When the rules with a quiet time last rang, by rule and person; see `_person`."""

    def __init__(
        self,
        connection: Connection,
        rules: Mapping[int, Sequence[Any]],
        people: set[int],
        strangers: set[int],
    ) -> None:
        self._connection = connection
        keys = [rule.key for some in rules.values() for rule in some if rule.quiet_s]
        query = select(rings).where(
            rings.c.rule_key.in_(keys),
            or_(
                rings.c.subject_key.in_(people),
                rings.c.stranger_key.in_(strangers),
                and_(rings.c.subject_key.is_(None), rings.c.stranger_key.is_(None)),
            ),
        )
        self._rows = {
            (row.rule_key, (row.subject_key, row.stranger_key, row.camera_id)): row
            for row in connection.execute(query)
        }
        self._times = {of: row.seen_at for of, row in self._rows.items()}
        self._changed: set[tuple[int, _Person]] = set()

    def covers(self, rule: Any, sighting: Any, subject: int | None) -> bool:
        """Return whether a rule rang for this person shortly before or after the sighting.

        Sightings may arrive late, hence "after". If not, the rule rings now and the time is noted.
        A camera clock that jumps makes the rule ring.
        """
        if not rule.quiet_s:
            return False
        of = (rule.key, _person(sighting, subject))
        last = self._times.get(of)
        if last is not None and abs(sighting.seen_at - last) < timedelta(seconds=rule.quiet_s):
            return True
        self._times[of] = sighting.seen_at
        self._changed.add(of)
        return False

    def keep(self) -> None:
        """Write the noted times."""
        known = [of for of in self._changed if of in self._rows]
        new = self._changed - set(known)
        if known:
            change = update(rings).where(rings.c.key == bindparam("of"))
            self._connection.execute(
                change, [{"of": self._rows[of].key, "seen_at": self._times[of]} for of in known]
            )
        if new:
            self._connection.execute(
                insert(rings),
                [
                    {
                        "rule_key": rule,
                        "subject_key": subject,
                        "stranger_key": stranger,
                        "camera_id": camera,
                        "seen_at": self._times[rule, (subject, stranger, camera)],
                    }
                    for rule, (subject, stranger, camera) in new
                ],
            )


def _make_room(connection: Connection, rules: set[int]) -> int:
    """Drop the oldest events of rules beyond the limit; return how many were dropped."""
    full = (
        select(alerts.c.rule_key)
        .where(alerts.c.rule_key.in_(rules))
        .group_by(alerts.c.rule_key)
        .having(func.count() > MAX_WAITING)
    )
    dropped = 0
    for rule in connection.scalars(full).all():
        kept = (
            select(alerts.c.key)
            .where(alerts.c.rule_key == rule)
            .order_by(alerts.c.key.desc())
            .limit(MAX_WAITING)
        )
        oldest = select(func.min(kept.subquery().c.key)).scalar_subquery()
        too_old = and_(alerts.c.rule_key == rule, alerts.c.key < oldest)
        dropped += connection.execute(delete(alerts).where(too_old)).rowcount
    return dropped
